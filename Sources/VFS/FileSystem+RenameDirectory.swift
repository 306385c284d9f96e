import Inodes
import Primitives
import RemoteAPI
import WireFormat

/// What of a directory was copied to its new place, and no more than that: only this is deleted at the old one.
private struct CopiedTree {
    struct Item {
        let from: RemotePath
        let to: RemotePath
        let kind: EntryKind
        /// Whether it was made at the new place: a directory that was there and empty stays when all is taken back.
        var isMade = true
    }

    /// A directory before what is in it.
    var items: [Item] = []
}

extension FileSystem {
    /// Copies a directory to its new name, then deletes the old one; the caller has it alone.
    func renameDirectory(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        var targetIsThere = false
        if case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent) {
            guard target != inode else { return }
            guard replaces else { throw .exists }
            guard kind == .directory else { throw .notDirectory }
            try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(target) }
            guard self.namespace.isKnownEmpty(target) else { throw .notEmpty }
            targetIsThere = true
        }
        guard let from = self.namespace.path(of: inode),
            let to = self.namespace.path(of: new.parent)?.appending(new.name)
        else { throw .noSuchFile }
        var copied = CopiedTree()
        do throws(FileSystemError) {
            try await self.copyTree(inode, from, to, isThere: targetIsThere, &copied)
        } catch {
            // The original is whole; what was copied is ours to take back.
            for item in copied.items.reversed() where item.isMade {
                try? await self.deleteIfOurs(item.to, item.kind)
            }
            self.namespace.expireListing(new.parent)
            throw error
        }
        // The new place is whole: whoever reads goes there from now on.
        self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        do throws(FileSystemError) {
            for item in copied.items.reversed() { try await self.deleteIfOurs(item.from, item.kind) }
            self.namespace.remove(old.name, in: old.parent, at: .now())
        } catch {
            // What is left at the old place shows in the next listing.
            self.namespace.expireListing(old.parent)
            throw error
        }
    }

    /// Copies a directory with all that is in it; files that are only here go to their new place with their upload.
    private func copyTree(
        _ directory: InodeNumber,
        _ from: RemotePath,
        _ to: RemotePath,
        isThere: Bool,
        _ copied: inout CopiedTree
    ) async throws(FileSystemError) {
        if !isThere {
            try await self.fail { () throws(RemoteError) in try await self.remote.makeDirectory(to) }
        }
        copied.items.append(.init(from: from, to: to, kind: .directory, isMade: !isThere))
        try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(directory) }
        // They could neither be copied nor may they be deleted.
        if self.namespace.holdsRefusedNames(directory) { throw .notSupported }
        let children = self.namespace.snapshot(directory)
        let files = children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) }
        try await self.copyFiles(files, in: directory, from, to, &copied)
        for child in children where child.kind == .directory {
            // Also makes the number known where nobody has looked it up yet.
            guard self.namespace.known(child.name, in: directory)?.inode == child.inode else {
                throw .changedOnServer
            }
            try await self.copyTree(
                child.inode,
                from.appending(child.name),
                to.appending(child.name),
                isThere: false,
                &copied
            )
        }
    }

    private func copyFiles(
        _ files: [Namespace.Dirent],
        in directory: InodeNumber,
        _ from: RemotePath,
        _ to: RemotePath,
        _ copied: inout CopiedTree
    ) async throws(FileSystemError) {
        let places = AsyncSemaphore(8)
        let results = await withTaskGroup(of: Result<FileName, FileSystemError>.self) { group in
            for file in files {
                group.addTask {
                    do { try await places.acquire() } catch { return .failure(.interrupted) }
                    defer { places.release() }
                    do throws(FileSystemError) {
                        try await self.copyFile(file, in: directory, to: to.appending(file.name))
                        return .success(file.name)
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results: [Result<FileName, FileSystemError>] = []
            for await result in group {
                if case .failure = result { group.cancelAll() }
                results.append(result)
            }
            return results
        }
        for case .success(let name) in results {
            copied.items.append(.init(from: from.appending(name), to: to.appending(name), kind: .file))
        }
        for case .failure(let error) in results where error != .interrupted { throw error }
        for result in results { _ = try result.get() }
    }

    private func copyFile(
        _ file: Namespace.Dirent,
        in directory: InodeNumber,
        to target: RemotePath
    ) async throws(FileSystemError) {
        guard self.namespace.known(file.name, in: directory)?.inode == file.inode else {
            throw .changedOnServer
        }
        let content = self.use(file.inode)
        defer { self.endUse(content) }
        try await content.transfer.alone { () throws(FileSystemError) in
            // What waits here goes to the old name first: then the copy is of one known version.
            try await self.uploadHoldingTransfer(content)
            let version = try await self.fail { () throws(RemoteError) in
                try await self.namespace.version(of: file.inode)
            }
            // Bytes written from now on wait here, and go to the new place with their own upload.
            let staged = content.isDirty ? nil : content.currentStaged(known: version)
            let snapshot = staged?.file.snapshot
            let source = Uploader.Source(
                staged: staged?.file,
                base: staged?.base ?? version,
                size: snapshot?.size ?? version.size
            ) { self.namespace.path(of: file.inode) }
            let isDone = try await self.uploader.upload(source, to: target, in: directory, previousSize: nil)
            {
                snapshot == nil || content.staged?.snapshot == snapshot
            }
            // Whoever writes to a file of a directory that moves may try again.
            guard isDone else { throw .changedOnServer }
        }
    }

    /// Deletes a file, or a directory that a listing asked for now shows to be empty: the server would delete a whole
    /// tree, also what others put there meanwhile.
    private func deleteIfOurs(_ path: RemotePath, _ kind: EntryKind) async throws(FileSystemError) {
        do throws(RemoteError) {
            if kind == .directory {
                let left = try await self.remote.list(path)
                guard left.entries.isEmpty, left.refusedNameCount == 0 else { throw .changedKind }
            }
            try await self.remote.delete(path, kind: kind)
        } catch .notFound {
            return
        } catch .changedKind {
            throw .notEmpty
        } catch {
            throw FileSystemError(error)
        }
    }
}
