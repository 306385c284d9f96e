import Inodes
import Primitives
import RemoteAPI
import Staging
import WireFormat

extension FileSystem {
    /// Copies a directory to its new name, then deletes the old one; the caller has it alone.
    ///
    /// - Throws: `.crossesDevices` if it is too large, before anything is changed.
    func renameDirectory(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        var replaced: InodeNumber?
        if case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent) {
            guard target != inode else { return }
            guard replaces else { throw .exists }
            guard kind == .directory else { throw .notDirectory }
            guard try await self.isEmptyNow(target) else { throw .notEmpty }
            replaced = target
        }
        guard let from = self.namespace.path(of: inode),
            let to = self.namespace.path(of: new.parent)?.appending(new.name)
        else { throw .noSuchFile }
        let total = try await self.measure(inode, limit: self.options.renameLimit)
        let move = DirectoryMove(
            self.staging.journal,
            from: from,
            to: to,
            total: total,
            tell: self.showRename
        )
        try await move.ending { () throws(FileSystemError) in
            if replaced == nil { move.willMake(to) }
            try await move.commit()
            if replaced == nil {
                // Nobody goes in before it is the directory that moves: a listing would show it as another one.
                self.namespace.hide(new.name, in: new.parent)
                do throws(RemoteError) {
                    try await self.remote.makeDirectory(to)
                } catch {
                    self.namespace.unhide(new.name, in: new.parent)
                    self.namespace.expireListing(new.parent)
                    throw FileSystemError(error)
                }
            }
            let isMade = replaced == nil
            let root = CopiedDirectory(inode, from: from, to: to, isMade: isMade, replacing: replaced)
            try await self.carryOut(move, root, old, new)
        }
    }

    func showRename(_ id: Int64, _ text: String?) { self.renames.withLock { $0[id] = text } }

    /// Moves a directory; the new one is there, and hidden if it was made for that.
    func carryOut(
        _ move: DirectoryMove,
        _ root: CopiedDirectory,
        _ old: Place,
        _ new: Place
    ) async throws(FileSystemError) {
        var isHidden = root.isMade
        defer { if isHidden { self.namespace.unhide(new.name, in: new.parent) } }
        do throws(FileSystemError) {
            try await self.persisting(move) { () throws(FileSystemError) in
                root.begin()
                move.restart()
                try await self.copyTree(root, move)
            }
        } catch {
            await self.takeBack(root, move)
            self.unhideCopies(in: root)
            self.namespace.expireListing(new.parent)
            throw error
        }
        // The new place is whole: whoever reads goes there from now on, and so does what waits here.
        if let replaced = root.replaced, let directory = root.inode {
            // Uploads to it that were given up show there as before.
            let staging = self.namespace.hiddenNames(in: replaced).subtracting(root.hiddenNames)
            for name in staging { self.namespace.hide(name, in: directory) }
        }
        self.staging.journal.together {
            move.willDelete()
            self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        }
        // What is left of it is seen by nobody, whatever is listed meanwhile: what is made in it would go with it.
        self.namespace.hide(old.name, in: old.parent)
        if isHidden { self.namespace.unhide(new.name, in: new.parent) }
        isHidden = false
        do throws(FileSystemError) {
            // Else a power failure could leave records of what waits here that name a place which is gone.
            try await move.commit()
            try await self.persisting(move) { () throws(FileSystemError) in
                try await self.deleteCopied(root, at: \.from, move)
            }
            self.namespace.remove(old.name, in: old.parent, at: .now())
            self.namespace.unhide(old.name, in: old.parent)
        } catch {
            // What is left at the old place shows in the next listing.
            self.namespace.unhide(old.name, in: old.parent)
            self.namespace.expireListing(old.parent)
            throw error
        }
    }

    /// Hides what is copied into a directory that was there: nobody goes to it before it is the one that moves, by which
    /// that one goes, with all that is known in it.
    func hideCopies(_ names: some Sequence<FileName>, in root: CopiedDirectory) {
        guard let replaced = root.replaced else { return }
        for name in names where root.hiddenNames.insert(name).inserted {
            self.namespace.hide(name, in: replaced)
        }
    }

    /// Ends ``hideCopies(_:in:)`` where it does not move.
    func unhideCopies(in root: CopiedDirectory) {
        guard let replaced = root.replaced else { return }
        for name in root.hiddenNames { self.namespace.unhide(name, in: replaced) }
        root.hiddenNames = []
        self.namespace.expireListing(replaced)
    }

    /// Deletes at the new place what was copied there: the original is whole.
    func takeBack(_ root: CopiedDirectory, _ move: DirectoryMove) async {
        // What was cut off as it began is listed as well, and hidden only when it is known.
        await self.uploader.begun.waitUntilEnded()
        do throws(FileSystemError) {
            // Of one that goes on with an earlier one the last attempt has seen only a part.
            let copied = move.copied.map { CopiedDirectory(root, $0, self.namespace.known) } ?? root
            copied.add(move.unknown)
            try await self.deleteCopied(copied, at: \.to, isTakenBack: true)
        } catch {
            self.logger.warning(
                "what the rename of a directory had copied before it failed is not all taken back",
                metadata: ["from": "\(move.from)", "to": "\(move.to)", "cause": "\(error)"]
            )
        }
    }

    // MARK: How much it is

    /// Adds up what is below a directory: sizes are asked for 64 at once, until there are more bytes than a limit.
    func measure(_ directory: InodeNumber, limit: UInt64) async throws(FileSystemError) -> DirectorySize {
        var total = DirectorySize()
        try await self.measure(directory, into: &total, limit: limit)
        return total
    }

    private func measure(
        _ directory: InodeNumber,
        into total: inout DirectorySize,
        limit: UInt64
    ) async throws(FileSystemError) {
        self.namespace.pin(directory)
        defer { self.namespace.unpin(directory) }
        try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(directory) }
        // They could neither be copied nor may they be deleted.
        if self.namespace.holdsRefusedNames(directory) { throw .notSupported }
        let children = self.namespace.snapshot(directory)
        let files = children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) }
        for start in stride(from: 0, to: files.count, by: 64) {
            let sizes: [Result<UInt64, FileSystemError>] = await withTaskGroup(
                of: Result<UInt64, FileSystemError>.self
            ) { group in
                for file in files[start..<min(start + 64, files.count)] {
                    group.addTask {
                        do throws(FileSystemError) {
                            return .success(try await self.size(of: file, in: directory))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for size in sizes {
                total.fileCount += 1
                total.byteCount += try size.get()
            }
            if total.byteCount > limit { throw .crossesDevices }
        }
        for child in children where child.kind == .directory {
            // Also makes the number known where nobody has looked it up yet.
            guard self.namespace.known(child.name, in: directory)?.inode == child.inode,
                self.namespace.pin(child.inode)
            else { throw .changedOnServer }
            defer { self.namespace.unpin(child.inode) }
            try await self.measure(child.inode, into: &total, limit: limit)
        }
    }

    private func size(of file: Namespace.Dirent, in directory: InodeNumber) async throws(FileSystemError)
        -> UInt64
    {
        guard self.namespace.known(file.name, in: directory)?.inode == file.inode,
            self.namespace.pin(file.inode)
        else { throw .changedOnServer }
        defer { self.namespace.unpin(file.inode) }
        return try await self.version(of: file.inode).size
    }
}
