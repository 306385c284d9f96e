import Inodes
import Primitives
import RemoteAPI
import Staging
import WireFormat

/// One side of a rename.
private struct Place {
    let parent: InodeNumber
    let name: FileName

    var key: NameKey { NameKey(parent: self.parent, name: self.name) }
}

extension FileSystem {
    /// Gives a file or directory another name, in place of what has that name.
    ///
    /// The API has no rename: a file is uploaded under its new name, from the bytes that are here as far as they are,
    /// and only then the old name is deleted. A crash in between leaves both names, never neither.
    ///
    /// - Parameters:
    ///   - parent: The directory it is in.
    ///   - name: Its name there.
    ///   - newParent: The directory it goes to.
    ///   - newName: Its name there.
    ///   - replaces: Whether it may take the place of what has that name (`false` for RENAME_NOREPLACE).
    public func rename(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable,
        to newParent: InodeNumber,
        _ newName: some Collection<UInt8> & Sendable,
        replaces: Bool
    ) async throws(FileSystemError) {
        let old = Place(parent: parent, name: try self.name(name))
        let new = Place(parent: newParent, name: try self.name(newName))
        let isDirectory = try await self.changingNames([old.key, new.key]) { () throws(FileSystemError) in
            guard case .present(let inode, let kind, _) = try await self.state(of: old.name, in: old.parent)
            else {
                throw .noSuchFile
            }
            if kind == .directory { return true }
            try await self.renameFile(inode, old, new, replaces: replaces)
            return false
        }
        guard isDirectory else { return }
        // Nothing may move below it while it is copied, so that it is looked at again alone.
        try await self.tree.alone { () throws(FileSystemError) in
            guard case .present(let inode, .directory, _) = try await self.state(of: old.name, in: old.parent)
            else {
                throw .noSuchFile
            }
            try await self.renameDirectory(inode, old, new, replaces: replaces)
        }
    }

    private func renameFile(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        guard case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent)
        else {
            return try await self.moveFile(inode, old, new, replacing: nil)
        }
        guard replaces else { throw .exists }
        guard kind == .file else { throw .isDirectory }
        // rename(2): two names of one file, here one name, do nothing.
        guard target != inode else { return }
        try await self.detaching(target) { () throws(FileSystemError) in
            try await self.moveFile(inode, old, new, replacing: target)
        }
    }

    private func moveFile(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replacing target: InodeNumber?
    ) async throws(FileSystemError) {
        let content = self.content(of: inode)
        defer { self.dropIfUnused(content) }
        try await content.transfer.alone { () throws(FileSystemError) in
            if self.namespace.isOnServer(inode) {
                try await self.copyThenDelete(content, old, new, replacing: target)
            } else {
                // Only here yet: it goes to its new name with its first upload.
                self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
                if !content.hasHandles { try await self.uploadHoldingTransfer(content) }
            }
        }
        self.retain(content)
    }

    private func copyThenDelete(
        _ content: FileContent,
        _ old: Place,
        _ new: Place,
        replacing target: InodeNumber?
    ) async throws(FileSystemError) {
        let replaced = target.flatMap {
            self.namespace.isOnServer($0) ? self.namespace.knownVersion(of: $0)?.size : nil
        }
        // Writers that are faster than the copy are let run twice, then they wait for it.
        var snapshot = try await self.copy(content, to: new, replacing: replaced)
        if snapshot == nil { snapshot = try await self.copy(content, to: new, replacing: replaced) }
        if snapshot == nil {
            let result: Result<Copied?, FileSystemError> = await content.writers.alone {
                do throws(FileSystemError) {
                    return .success(try await self.copy(content, to: new, replacing: replaced))
                } catch {
                    return .failure(error)
                }
            }
            snapshot = try result.get()
        }
        guard let snapshot else { throw .changedOnServer }
        do throws(FileSystemError) {
            try await self.delete(old.name, in: old.parent, kind: .file)
        } catch .noSuchFile {
            // Gone under its old name already; under the new one it is there.
        } catch {
            // Both names are there now: the listing shows it.
            try? await self.namespace.refresh(new.parent)
            throw error
        }
        self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        let isClean = snapshot.staged.map { content.staged?.didUpload($0) ?? true } ?? true
        let version = self.namespace.didUpload(content.inode, size: snapshot.size, isHeld: !isClean)
        content.state.withLock { state in
            if state.staged != nil {
                state.base = FileVersion(content: version, size: snapshot.size, validFor: .zero)
            }
        }
    }

    /// What was copied: a snapshot of the staged file if there was one.
    private struct Copied: Equatable, Sendable {
        let staged: StagedFile.Snapshot?
        let size: UInt64
    }

    /// Uploads a file under another name.
    ///
    /// - Returns: What was uploaded; nothing if a writer outran it, and then nothing was changed.
    private func copy(
        _ content: FileContent,
        to new: Place,
        replacing replacedSize: UInt64?
    ) async throws(FileSystemError) -> Copied? {
        guard let path = self.namespace.path(of: new.parent)?.appending(new.name) else { throw .noSuchFile }
        let version = try await self.versionUnlessDirty(content)
        let staged = content.currentStaged(known: version)
        let snapshot = staged?.file.snapshot
        guard let size = snapshot?.size ?? version?.size else { throw .stale }
        let source = Uploader.Source(staged: staged?.file, base: staged?.base ?? version, size: size) {
            self.namespace.path(of: content.inode)
        }
        let isDone = try await self.uploader.upload(
            source,
            to: path,
            in: new.parent,
            previousSize: replacedSize
        ) { content.staged?.snapshot == snapshot }
        return isDone ? Copied(staged: snapshot, size: size) : nil
    }

    private func versionUnlessDirty(_ content: FileContent) async throws(FileSystemError) -> FileVersion? {
        if content.isDirty { return self.namespace.knownVersion(of: content.inode) }
        return try await self.fail { () throws(RemoteError) in
            try await self.namespace.version(of: content.inode)
        }
    }
}

// MARK: Directories

extension FileSystem {
    private func renameDirectory(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        try self.checkNotInside(inode, new.parent)
        var targetIsThere = false
        if case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent) {
            guard target != inode else { return }
            guard replaces else { throw .exists }
            guard kind == .directory else { throw .notDirectory }
            try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(target) }
            guard self.namespace.knownNameCount(target) == 0 else { throw .notEmpty }
            targetIsThere = true
        }
        guard let path = self.namespace.path(of: new.parent)?.appending(new.name) else { throw .noSuchFile }
        var copied: [(path: RemotePath, kind: EntryKind)] = []
        do throws(FileSystemError) {
            try await self.copyTree(inode, to: path, isThere: targetIsThere, &copied)
        } catch {
            // What was copied is ours; what of it cannot be taken back now stays beside the whole original.
            for (path, kind) in copied.reversed() { try? await self.remote.delete(path, kind: kind) }
            try? await self.namespace.refresh(new.parent)
            throw error
        }
        try await self.deleteTree(inode, old)
        self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
    }

    /// rename(2): a directory cannot go into itself.
    private func checkNotInside(_ directory: InodeNumber, _ parent: InodeNumber) throws(FileSystemError) {
        var inode = parent
        while inode != .root {
            if inode == directory { throw .invalidArgument }
            inode = self.parent(of: inode)
        }
    }

    /// Copies a directory with all that is in it; files that are only here go to their new place with their upload.
    private func copyTree(
        _ directory: InodeNumber,
        to path: RemotePath,
        isThere: Bool,
        _ copied: inout [(path: RemotePath, kind: EntryKind)]
    ) async throws(FileSystemError) {
        if !isThere {
            do throws(RemoteError) {
                try await self.remote.makeDirectory(path)
            } catch {
                throw FileSystemError(error)
            }
            copied.append((path, .directory))
        }
        try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(directory) }
        let children = self.namespace.snapshot(directory)
        let files = children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) }
        try await self.copyFiles(files, in: directory, to: path, &copied)
        for child in children where child.kind == .directory {
            guard case .present = self.namespace.peek(child.name, in: directory) else { continue }
            try await self.copyTree(child.inode, to: path.appending(child.name), isThere: false, &copied)
        }
    }

    private func copyFiles(
        _ files: [Namespace.Dirent],
        in directory: InodeNumber,
        to path: RemotePath,
        _ copied: inout [(path: RemotePath, kind: EntryKind)]
    ) async throws(FileSystemError) {
        let places = AsyncSemaphore(8)
        let results = await withTaskGroup(of: Result<RemotePath, FileSystemError>.self) { group in
            for file in files {
                let target = path.appending(file.name)
                group.addTask {
                    do { try await places.acquire() } catch { return .failure(.interrupted) }
                    defer { places.release() }
                    do throws(FileSystemError) {
                        try await self.copyFile(file, in: directory, to: target)
                        return .success(target)
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results: [Result<RemotePath, FileSystemError>] = []
            for await result in group {
                if case .failure = result { group.cancelAll() }
                results.append(result)
            }
            return results
        }
        for case .success(let path) in results { copied.append((path, .file)) }
        for case .failure(let error) in results where error != .interrupted { throw error }
        for result in results { _ = try result.get() }
    }

    private func copyFile(
        _ file: Namespace.Dirent,
        in directory: InodeNumber,
        to target: RemotePath
    ) async throws(FileSystemError) {
        guard case .present(file.inode, .file, _) = self.namespace.peek(file.name, in: directory) else {
            return
        }
        let content = self.content(of: file.inode)
        defer { self.dropIfUnused(content) }
        try await content.transfer.alone { () throws(FileSystemError) in
            // What waits here goes to the old name first: then the copy is of one known version.
            try await self.uploadHoldingTransfer(content)
            let version = try await self.fail { () throws(RemoteError) in
                try await self.namespace.version(of: file.inode)
            }
            let staged = content.currentStaged(known: version)
            let source = Uploader.Source(
                staged: staged?.file,
                base: staged?.base ?? version,
                size: staged?.file.size ?? version.size
            ) { self.namespace.path(of: file.inode) }
            _ = try await self.uploader.upload(
                source,
                to: target,
                in: directory,
                previousSize: nil
            ) { true }
        }
    }

    /// Deletes what was copied, name by name, so that what came into the tree meanwhile is not lost with it.
    private func deleteTree(_ directory: InodeNumber, _ place: Place) async throws(FileSystemError) {
        for child in self.namespace.snapshot(directory) {
            switch child.kind {
            case .directory:
                try await self.deleteTree(child.inode, Place(parent: directory, name: child.name))
            case .file where self.namespace.isOnServer(child, in: directory):
                do throws(FileSystemError) {
                    try await self.deleteOnServer(child.name, in: directory, kind: .file)
                } catch .noSuchFile {
                    continue
                }
            case .file: continue
            }
        }
        try await self.deleteOnServer(place.name, in: place.parent, kind: .directory)
    }

    /// Deletes a name on the service but not here, where the tree is about to move as a whole.
    private func deleteOnServer(
        _ name: FileName,
        in parent: InodeNumber,
        kind: EntryKind
    ) async throws(FileSystemError) {
        guard let path = self.namespace.path(of: parent)?.appending(name) else { throw .noSuchFile }
        do throws(RemoteError) {
            if kind == .directory {
                // The server deletes whole trees: a fresh listing must show it empty.
                let left = try await self.remote.list(path)
                guard left.entries.isEmpty else { throw .changedKind }
            }
            try await self.remote.delete(path, kind: kind)
        } catch .changedKind {
            throw .notEmpty
        } catch {
            throw FileSystemError(error)
        }
    }
}
