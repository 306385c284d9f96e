import Inodes
import Primitives
import RemoteAPI
import Synchronization
import WireFormat

// The steps of a directory's rename.

extension FileSystem {
    /// How many files are copied or deleted at once.
    private static let renameConcurrency = 8

    /// Makes a directory at the new place, unless an earlier attempt did.
    func makeDirectory(_ path: RemotePath, _ move: DirectoryMove) async throws(FileSystemError) {
        let mayBeThere = move.wasMade(path)
        move.willMake(path)
        do throws(RemoteError) {
            try await self.remote.makeDirectory(path)
        } catch {
            if error == .alreadyExists, mayBeThere { return }
            throw FileSystemError(error)
        }
    }

    /// Copies all that is in a directory; files that are only here go to their new place with their upload.
    func copyTree(_ copied: CopiedDirectory, _ move: DirectoryMove) async throws(FileSystemError) {
        guard let directory = copied.inode else { return }
        self.namespace.pin(directory)
        defer { self.namespace.unpin(directory) }
        try await self.fail { () throws(RemoteError) in try await self.namespace.ensureListed(directory) }
        let children = self.namespace.snapshot(directory)
        self.hideCopies(children.lazy.map(\.name), in: copied)
        // What is there already, if an earlier attempt began.
        let there: Set<FileName>
        do throws(RemoteError) {
            there =
                !move.isResumed
                ? []
                : Set(try await self.remote.list(copied.to).entries.filter { $0.kind == .file }.map(\.name))
        } catch {
            throw FileSystemError(error)
        }
        let files = children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) }
        let (to, listed) = (copied.to, copied.replaced ?? directory)
        try await self.eight(files) { file throws(FileSystemError) in
            let target = to.appending(file.name)
            let size = try await self.copyFile(file, in: directory, to: target, listedIn: listed, of: move) {
                size in
                if let size, there.contains(file.name), move.wasCopied(target, size: size) { return true }
                move.willCopyAnew(target)
                return false
            }
            move.didCopy(target, size: size)
            return (file.name, size)
        } done: {
            copied.files.append($0)
        }
        for child in children where child.kind == .directory {
            // Also makes the number known where nobody has looked it up yet; the kernel may forget it at any time.
            guard self.namespace.known(child.name, in: directory)?.inode == child.inode,
                self.namespace.pin(child.inode)
            else { throw .changedOnServer }
            defer { self.namespace.unpin(child.inode) }
            let below = CopiedDirectory(
                child.inode,
                from: copied.from.appending(child.name),
                to: copied.to.appending(child.name),
                isMade: true
            )
            try await self.makeDirectory(below.to, move)
            copied.directories.append(below)
            try await self.copyTree(below, move)
        }
    }

    /// Does something for many, eight at once, until the first failure.
    ///
    /// - Parameters:
    ///   - items: The many.
    ///   - body: What is done for each.
    ///   - done: Given what came of each, one after another, also if others failed.
    /// - Throws: What one of them threw.
    private func eight<Item: Sendable, Value: Sendable>(
        _ items: [Item],
        _ body: @escaping @Sendable (Item) async throws(FileSystemError) -> Value,
        done: (Value) -> Void
    ) async throws(FileSystemError) {
        let places = AsyncSemaphore(Self.renameConcurrency)
        let results = await withTaskGroup(of: Result<Value, FileSystemError>.self) { group in
            for item in items {
                group.addTask {
                    do { try await places.acquire() } catch { return .failure(.interrupted) }
                    defer { places.release() }
                    do throws(FileSystemError) {
                        return .success(try await body(item))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results: [Result<Value, FileSystemError>] = []
            for await result in group {
                if case .failure = result { group.cancelAll() }
                results.append(result)
            }
            return results
        }
        for case .success(let value) in results { done(value) }
        for case .failure(let error) in results where error != .interrupted { throw error }
        for result in results { _ = try result.get() }
    }

    /// Copies a file, unless it was copied before.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - directory: Where it is.
    ///   - target: Where it goes.
    ///   - listed: The directory whose listing may show the upload under way.
    ///   - move: Told before the copy becomes the file.
    ///   - wasCopied: Asked with its size in bytes, nothing if bytes of it wait here, before anything is uploaded.
    /// - Returns: Its size in bytes.
    /// - Throws: Why it is not copied.
    private func copyFile(
        _ file: Namespace.Dirent,
        in directory: InodeNumber,
        to target: RemotePath,
        listedIn listed: InodeNumber,
        of move: DirectoryMove,
        unless wasCopied: @Sendable (UInt64?) -> Bool
    ) async throws(FileSystemError) -> UInt64 {
        guard self.namespace.known(file.name, in: directory)?.inode == file.inode,
            self.namespace.pin(file.inode)
        else { throw .changedOnServer }
        defer { self.namespace.unpin(file.inode) }
        let content = self.use(file.inode)
        defer { self.endUse(content) }
        return try await content.transfer.alone { () throws(FileSystemError) in
            let size = content.isDirty ? nil : try await self.version(of: file.inode).size
            if wasCopied(size), let size { return size }
            // What waits here goes to the old name first: then the copy is of one known version.
            try await self.uploadHoldingTransfer(content)
            // It may have found somebody else's file there, and gone beside it: that one has the name then.
            guard self.namespace.known(file.name, in: directory)?.inode == file.inode else {
                throw .changedOnServer
            }
            // If a writer outruns the first copy, the second is of what the service has; what was written goes to the
            // new place with its own upload.
            for _ in 0..<2 {
                let size = try await self.copyUnlessOutrun(content, to: target, listedIn: listed, of: move)
                if let size { return size }
            }
            throw .changedOnServer
        }
    }

    private func copyUnlessOutrun(
        _ content: FileContent,
        to target: RemotePath,
        listedIn listed: InodeNumber,
        of move: DirectoryMove
    ) async throws(FileSystemError) -> UInt64? {
        if let staged = content.staged, !staged.isDirty { try self.wasLost(staged, of: content) }
        let version = try await self.fail { () throws(RemoteError) in
            try await self.namespace.version(of: content.inode)
        }
        let staged = content.isDirty ? nil : content.currentStaged(known: version)
        let snapshot = staged?.file.snapshot
        let source = self.source(
            of: content,
            staged?.file,
            over: staged?.base ?? version,
            size: snapshot?.size ?? version.size
        )
        let unknown = move.unknown[target]
        let isSentAgain = Atomic(false)
        let undo = {
            if !isSentAgain.load(ordering: .relaxed) { move.didNotComplete(target, before: unknown) }
        }
        do throws(FileSystemError) {
            // An older copy may be there, of an earlier mount or of the round before: the size alone proves nothing.
            let isDone = try await self.uploader.upload(
                source,
                to: target,
                in: listed,
                previousSize: source.size,
                beforeComplete: { () throws(FileSystemError) in
                    try await self.checkSource(source, of: content)
                    move.willComplete(target, size: source.size)
                },
                beforeSendingAgain: { isSentAgain.store(true, ordering: .relaxed) }
            ) {
                snapshot == nil || content.staged?.snapshot == snapshot
            }
            if isDone { return source.size }
        } catch {
            // Unless the service may have made it the file all the same.
            if !error.mayPass { undo() }
            throw error
        }
        undo()
        return nil
    }

    /// Deletes what was copied, at its old place or (taking it back) at its new one: files that a listing asked for now
    /// shows to be files, and directories that one shows to be empty. The server would delete a whole tree, also what
    /// others put there meanwhile.
    ///
    /// What has not the size any more that it had when it was copied is left too: somebody else has written to it. And
    /// where it is taken back, what the old place has not any more: the copy may be all that there is. So is, at the old
    /// place, what the new one has not any more when a later mount goes on.
    func deleteCopied(
        _ copied: CopiedDirectory,
        at place: KeyPath<CopiedDirectory, RemotePath>,
        _ move: DirectoryMove? = nil,
        isTakenBack: Bool = false
    ) async throws(FileSystemError) {
        var isLeft = false
        for below in copied.directories.reversed() {
            do throws(FileSystemError) {
                try await self.deleteCopied(below, at: place, move, isTakenBack: isTakenBack)
            } catch .notEmpty {
                // What others put into one is no reason to leave what was copied beside it.
                isLeft = true
            }
        }
        let path = copied[keyPath: place]
        if !copied.files.isEmpty {
            guard let listing = try await self.listing(of: path) else { return }
            var there = Set(listing.entries.filter { $0.kind == .file }.map(\.name))
            if isTakenBack {
                guard let original = try await self.listing(of: copied.from) else { return }
                there.formIntersection(original.entries.filter { $0.kind == .file }.map(\.name))
            }
            if move?.isResumed == true {
                let copies = try await self.listing(of: copied.to)?.entries ?? []
                there.formIntersection(copies.filter { $0.kind == .file }.map(\.name))
            }
            let files = copied.files.filter { there.contains($0.name) }.map {
                (path.appending($0.name), $0.size)
            }
            try await self.eight(files) { file throws(FileSystemError) in
                let (path, size) = file
                do throws(RemoteError) {
                    guard try await self.remote.size(of: path) == size else { return }
                } catch {
                    if error == .notFound { return }
                    throw FileSystemError(error)
                }
                try await self.delete(path, kind: .file)
                move?.didDelete(size: size)
            } done: { _ in
            }
        }
        if isLeft { throw .notEmpty }
        if isTakenBack, !copied.isMade { return }
        guard let left = try await self.listing(of: path) else { return }
        let hidden = copied.inode.map(self.namespace.hiddenNames) ?? []
        guard left.refusedNameCount == 0, left.entries.allSatisfy({ hidden.contains($0.name) }) else {
            throw .notEmpty
        }
        try await self.delete(path, kind: .directory)
    }

    /// What is in a directory on the service now; nothing if it is gone.
    private func listing(of path: RemotePath) async throws(FileSystemError) -> RemoteListing? {
        do throws(RemoteError) {
            return try await self.remote.list(path)
        } catch {
            if error == .notFound { return nil }
            throw FileSystemError(error)
        }
    }

    /// Deletes what a listing has just shown, unless it is gone.
    private func delete(_ path: RemotePath, kind: EntryKind) async throws(FileSystemError) {
        do throws(RemoteError) {
            try await self.remote.delete(path, kind: kind)
        } catch {
            switch error {
            case .notFound: return
            case .changedKind: throw .notEmpty
            default: throw FileSystemError(error)
            }
        }
    }
}
