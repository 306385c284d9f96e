import Inodes
import Primitives
import RemoteAPI
import WireFormat

/// A directory of which something was copied to its new place, and no more than that: only this is deleted at the old
/// one, or taken back at the new one.
private final class CopiedDirectory {
    let inode: InodeNumber
    let from: RemotePath
    let to: RemotePath
    /// Whether it was made at the new place: one that was there and empty stays when all is taken back.
    let isMade: Bool
    var files: [FileName] = []
    var directories: [CopiedDirectory] = []

    init(_ inode: InodeNumber, from: RemotePath, to: RemotePath, isMade: Bool) {
        self.inode = inode
        self.from = from
        self.to = to
        self.isMade = isMade
    }
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
        if !targetIsThere {
            try await self.fail { () throws(RemoteError) in try await self.remote.makeDirectory(to) }
            // Nobody goes in before it is the directory that moves: a listing would show it as another one.
            self.namespace.hide(new.name, in: new.parent)
        }
        var isHidden = !targetIsThere
        defer { if isHidden { self.namespace.unhide(new.name, in: new.parent) } }
        let copied = CopiedDirectory(inode, from: from, to: to, isMade: !targetIsThere)
        do throws(FileSystemError) {
            try await self.copyTree(copied)
        } catch {
            // The original is whole; what was copied is ours to take back.
            try? await self.deleteCopied(copied, at: \.to, isTakenBack: true)
            self.namespace.expireListing(new.parent)
            throw error
        }
        // The new place is whole: whoever reads goes there from now on.
        self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        if isHidden { self.namespace.unhide(new.name, in: new.parent) }
        isHidden = false
        do throws(FileSystemError) {
            try await self.deleteCopied(copied, at: \.from)
            self.namespace.remove(old.name, in: old.parent, at: .now())
        } catch {
            // What is left at the old place shows in the next listing.
            self.namespace.expireListing(old.parent)
            throw error
        }
    }

    /// Copies all that is in a directory; files that are only here go to their new place with their upload.
    private func copyTree(_ copied: CopiedDirectory) async throws(FileSystemError) {
        let directory = copied.inode
        self.namespace.pin(directory)
        defer { self.namespace.unpin(directory) }
        try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(directory) }
        // They could neither be copied nor may they be deleted.
        if self.namespace.holdsRefusedNames(directory) { throw .notSupported }
        let children = self.namespace.snapshot(directory)
        try await self.copyFiles(
            children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) },
            of: copied
        )
        for child in children where child.kind == .directory {
            // Also makes the number known where nobody has looked it up yet.
            guard self.namespace.known(child.name, in: directory)?.inode == child.inode else {
                throw .changedOnServer
            }
            let below = CopiedDirectory(
                child.inode,
                from: copied.from.appending(child.name),
                to: copied.to.appending(child.name),
                isMade: true
            )
            try await self.fail { () throws(RemoteError) in try await self.remote.makeDirectory(below.to) }
            copied.directories.append(below)
            try await self.copyTree(below)
        }
    }

    private func copyFiles(
        _ files: [Namespace.Dirent],
        of copied: CopiedDirectory
    ) async throws(FileSystemError) {
        let (directory, to) = (copied.inode, copied.to)
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
        for case .success(let name) in results { copied.files.append(name) }
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
            // If a writer outruns the first copy, the second is of what the service has; what was written goes to the
            // new place with its own upload.
            for _ in 0..<2 {
                if try await self.copyUnlessOutrun(content, in: directory, to: target) { return }
            }
            throw .changedOnServer
        }
    }

    private func copyUnlessOutrun(
        _ content: FileContent,
        in directory: InodeNumber,
        to target: RemotePath
    ) async throws(FileSystemError) -> Bool {
        let version = try await self.fail { () throws(RemoteError) in
            try await self.namespace.version(of: content.inode)
        }
        let staged = content.isDirty ? nil : content.currentStaged(known: version)
        let snapshot = staged?.file.snapshot
        let source = Uploader.Source(
            staged: staged?.file,
            base: staged?.base ?? version,
            size: snapshot?.size ?? version.size
        ) { self.namespace.path(of: content.inode) }
        return try await self.uploader.upload(source, to: target, in: directory, previousSize: nil) {
            snapshot == nil || content.staged?.snapshot == snapshot
        }
    }

    /// Deletes what was copied, at its old place or (taking it back) at its new one: files that a listing asked for now
    /// shows to be files, and directories that one shows to be empty. The server would delete a whole tree, also what
    /// others put there meanwhile.
    private func deleteCopied(
        _ copied: CopiedDirectory,
        at place: KeyPath<CopiedDirectory, RemotePath>,
        isTakenBack: Bool = false
    ) async throws(FileSystemError) {
        for below in copied.directories.reversed() {
            try await self.deleteCopied(below, at: place, isTakenBack: isTakenBack)
        }
        let path = copied[keyPath: place]
        do throws(RemoteError) {
            if !copied.files.isEmpty {
                let files = Set(
                    try await self.remote.list(path).entries.filter { $0.kind == .file }.map(\.name)
                )
                for name in copied.files where files.contains(name) {
                    do throws(RemoteError) {
                        try await self.remote.delete(path.appending(name), kind: .file)
                    } catch .notFound {
                        continue
                    }
                }
            }
            if isTakenBack, !copied.isMade { return }
            let left = try await self.remote.list(path)
            let hidden = self.namespace.hiddenNames(in: copied.inode)
            guard left.refusedNameCount == 0, left.entries.allSatisfy({ hidden.contains($0.name) }) else {
                throw .changedKind
            }
            try await self.remote.delete(path, kind: .directory)
        } catch .notFound {
            return
        } catch .changedKind {
            throw .notEmpty
        } catch {
            throw FileSystemError(error)
        }
    }
}
