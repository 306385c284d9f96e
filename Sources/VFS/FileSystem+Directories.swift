import Inodes
import Primitives
import RemoteAPI
import WireFormat

extension FileSystem {
    /// Opens a directory whose names are known; nothing if it must be listed first.
    public func opendirNow(_ inode: InodeNumber) throws(FileSystemError) -> DirectoryHandle? {
        // Stale where the number stands for nothing: another directory may have its name by now, and the kernel looks
        // that up again.
        guard let kind = self.namespace.kind(of: inode) else { throw .stale }
        guard kind == .directory else { throw .notDirectory }
        // First, so that its names stay from then on.
        guard self.namespace.pin(inode) else { throw .stale }
        if self.namespace.isListed(inode) {
            self.namespace.noteOpened(inode)
            self.cache.makeRoomForOthers()
            return DirectoryHandle(inode)
        }
        self.namespace.unpin(inode)
        return nil
    }

    /// Opens a directory, listing it if what is known is too old.
    ///
    /// - Throws: `.stale` if it is gone: the kernel looks its name up again, which may stand for another one by now.
    public func opendir(_ inode: InodeNumber) async throws(FileSystemError) -> DirectoryHandle {
        guard self.namespace.pin(inode) else { throw .stale }
        self.namespace.noteOpened(inode)
        do throws(RemoteError) {
            try await self.namespace.ensureListed(inode)
        } catch {
            self.namespace.unpin(inode)
            throw error == .notFound ? .stale : FileSystemError(error)
        }
        self.cache.makeRoomForOthers()
        return DirectoryHandle(inode)
    }

    /// Closes a directory.
    public func releasedir(_ handle: DirectoryHandle) {
        if handle.snapshot.withLock({ $0 }) != nil { self.namespace.endReading(handle.inode) }
        self.namespace.unpin(handle.inode)
    }

    /// Whether an open directory that is about to be read from its start must be listed before, by ``relist(_:)``: it was
    /// read before (rewinddir(3)), and what is known is too old by now.
    public func mustRelist(_ handle: DirectoryHandle) -> Bool {
        handle.snapshot.withLock { $0 != nil } && !self.namespace.isListed(handle.inode)
    }

    /// Lists an open directory again unless its names are fresh.
    public func relist(_ handle: DirectoryHandle) async throws(FileSystemError) {
        try await self.fail { () throws(RemoteError) in try await self.namespace.ensureListed(handle.inode) }
    }

    /// An open directory is about to be read from its start, perhaps again (rewinddir(3)): its names are those that it has
    /// now. By seekdir(3) nobody gets there: even the first name's place comes after those of `.` and `..`.
    public func rewinddir(_ handle: DirectoryHandle) {
        handle.snapshot.withLock { snapshot in
            if snapshot != nil { snapshot = self.takeSnapshot(handle.inode) }
        }
    }

    /// The names of an open directory, without `.` and `..`.
    ///
    /// - Parameters:
    ///   - handle: The directory.
    ///   - index: Where to go on, an index into what the directory held when it was first read, or last by
    ///     ``rewinddir(_:)``.
    /// - Returns: The names from there on.
    public func readdir(_ handle: DirectoryHandle, from index: Int) -> Slice<DirectorySnapshot> {
        handle.snapshot.withLock { snapshot in
            if let snapshot {
                if index > 0 { self.namespace.noteReading(handle.inode, from: index) }
                return snapshot[min(index, snapshot.count)...]
            }
            // Whoever reads the names may stat them, or open the directories, next.
            self.namespace.beginReading(handle.inode)
            let names = self.takeSnapshot(handle.inode)
            snapshot = names
            return names[min(index, names.count)...]
        }
    }

    private func takeSnapshot(_ directory: InodeNumber) -> DirectorySnapshot {
        defer { self.ahead.enter(directory) }
        return self.namespace.snapshot(directory)
    }

    /// The directory above; the root's is itself.
    public func parent(of inode: InodeNumber) -> InodeNumber {
        self.namespace.location(of: inode)?.parent ?? .root
    }

    /// Makes a directory.
    public func mkdir(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable,
        attributes: AttributeChange
    ) async throws(FileSystemError) -> LookupReply {
        let name = try self.name(name)
        return try await self.changingNames([NameKey(parent: parent, name: name)]) {
            () throws(FileSystemError) in
            guard case .absent = try await self.state(of: name, in: parent) else { throw .exists }
            guard let path = self.namespace.path(of: parent)?.appending(name) else { throw .noSuchFile }
            do throws(RemoteError) {
                try await self.remote.makeDirectory(path)
            } catch .alreadyExists {
                // Somebody else made it: what we know of its parent is old.
                try await self.fail { () throws(RemoteError) in try await self.namespace.refreshAnew(parent) }
                throw .exists
            } catch .rejected(400, _) {
                throw .noSuchFile
            } catch {
                // It may be there all the same, or be a little later.
                self.namespace.expireListing(parent)
                throw FileSystemError(error)
            }
            let inode = self.namespace.addDirectory(name, in: parent, at: .now())
            self.namespace.setInitialAttributes(of: inode, attributes, at: .now())
            guard let attributes = self.namespace.countLookup(inode) else { throw .noSuchFile }
            let validFor = self.namespace.timeToLive
            return .entry(attributes, nameValidFor: validFor, attributesValidFor: validFor)
        }
    }

    /// Removes a directory, which must be empty.
    ///
    /// The server would delete a whole tree: it is listed anew before, and nothing is sent unless it is empty.
    public func rmdir(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable
    ) async throws(FileSystemError) {
        let name = try self.name(name)
        let inode = try await self.directory(name, in: parent)
        // Nobody needs to wait for its upload to know.
        if self.namespace.holdsUnsentFile(inode) { throw .notEmpty }
        // Alone: nothing is made in it between the listing and the deletion.
        try await self.changingNames([NameKey(parent: parent, name: name)], moving: [inode]) {
            () throws(FileSystemError) in
            guard try await self.directory(name, in: parent) == inode else { throw .noSuchFile }
            try await self.removeEmptyDirectory(inode, name, in: parent)
        }
    }

    /// The directory of a name.
    private func directory(_ name: FileName, in parent: InodeNumber) async throws(FileSystemError)
        -> InodeNumber
    {
        guard case .present(let inode, let kind, _) = try await self.state(of: name, in: parent) else {
            throw .noSuchFile
        }
        guard kind == .directory else { throw .notDirectory }
        return inode
    }

    /// Whether a fresh listing shows a directory empty.
    func isEmptyNow(_ directory: InodeNumber) async throws(FileSystemError) -> Bool {
        try await self.fail { () throws(RemoteError) in try await self.namespace.refreshAnew(directory) }
        // What is listed may be an upload that was stopped as it began, and is hidden when it is known.
        if !self.namespace.isKnownEmpty(directory), await self.uploader.begun.waitUntilEnded(in: directory) {
            try await self.fail { () throws(RemoteError) in try await self.namespace.refreshAnew(directory) }
        }
        return self.namespace.isKnownEmpty(directory)
    }

    /// Removes a directory if a fresh listing shows it empty.
    func removeEmptyDirectory(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber
    ) async throws(FileSystemError) {
        guard try await self.isEmptyNow(inode) else { throw .notEmpty }
        try await self.delete(name, in: parent, kind: .directory)
        self.namespace.remove(name, in: parent, at: .now())
    }

    /// Removes a file's name; who has it open goes on with it.
    public func unlink(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable
    ) async throws(FileSystemError) {
        let name = try self.name(name)
        let mayComeBack = try await self.changingNames([NameKey(parent: parent, name: name)]) {
            () throws(FileSystemError) in
            guard case .present(let inode, let kind, _) = try await self.state(of: name, in: parent) else {
                throw .noSuchFile
            }
            guard kind == .file else { throw .isDirectory }
            var mayComeBack = false
            let place = Place(parent: parent, name: name)
            try await self.detaching(inode, place) { content throws(FileSystemError) in
                _ = try await self.mayBeOnServer(content, at: place)
                try await self.beginLeaving(content)
                mayComeBack = content.waiting.contains(where: self.isUploadedByNextMount)
                let isHeld = content.isDirty
                let isInDoubt = content.state.withLock { $0.sizeInDoubt != nil }
                let base = content.staged?.baseSize
                let restore = content.state.withLock { state in
                    state.waiting.map { $0.willLoseBase(isInDoubt: isInDoubt) }
                }
                do throws(FileSystemError) {
                    if self.namespace.isOnServer(inode) {
                        if isHeld { await self.staging.journal.written() }
                        try await self.delete(name, in: parent, kind: .file)
                    }
                } catch {
                    // Its first upload may not have come so far.
                    guard isHeld, error == .noSuchFile else {
                        switch error {
                        case .remote, .interrupted: self.mayHaveLostBase(content, of: base, isInDoubt)
                        default: for undo in restore { undo() }
                        }
                        throw error
                    }
                }
                self.namespace.remove(name, in: parent, at: .now())
            }
            return mayComeBack
        }
        // What was only here is gone for later mounts too. It can be deleted also where the disk is full.
        if mayComeBack || self.staging.journal.mayBringBack { try? await self.staging.journal.commit() }
        await self.staging.journal.written()
    }

    /// Whether the service has a file, as far as can be told: where the answer to an upload's last call was lost, the
    /// listing without it may be older than what that call did.
    func mayBeOnServer(_ content: FileContent, at place: Place) async throws(FileSystemError) -> Bool {
        if !self.namespace.isOnServer(content.inode), content.state.withLock({ $0.sizeInDoubt != nil }) {
            try await self.fail { () throws(RemoteError) in
                try await self.namespace.refreshAnew(place.parent)
            }
            try self.checkName(place, stillOf: content.inode)
        }
        return self.namespace.isOnServer(content.inode)
    }

    /// The file that a content replaces may be there still, or have been deleted: neither is somebody else's doing.
    ///
    /// - Parameters:
    ///   - content: The content.
    ///   - base: That file's size in bytes.
    ///   - isInDoubt: Whether it could be an upload of this one as well: then nobody can tell what there may be.
    private func mayHaveLostBase(_ content: FileContent, of base: UInt64?, _ isInDoubt: Bool) {
        content.state.withLock { state in
            if isInDoubt {
                for staged in state.waiting { staged.setBase(size: nil, isUnknown: true) }
            } else {
                state.sizeInDoubt = base
            }
        }
    }

    /// Deletes a name on the service, if a listing within its time to live shows it to be of that kind.
    func delete(_ name: FileName, in parent: InodeNumber, kind: EntryKind) async throws(FileSystemError) {
        guard let path = self.namespace.path(of: parent)?.appending(name) else { throw .noSuchFile }
        do throws(RemoteError) {
            try await self.namespace.ensureListed(parent)
            guard let known = self.namespace.known(name, in: parent) else { throw .notFound }
            guard known.kind == kind else { throw .changedKind }
            try await self.remote.delete(path, kind: kind)
        } catch {
            // What is known of the directory is old, or (interrupted) may be.
            self.namespace.expireListing(parent)
            switch error {
            case .notFound:
                self.namespace.remove(name, in: parent, at: .now())
                throw .noSuchFile
            case .changedKind: throw kind == .file ? .isDirectory : .notEmpty
            default: throw FileSystemError(error)
            }
        }
    }

    /// Takes a file's name away while no upload of it runs.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - place: Its name.
    ///   - remove: Takes the name away, here and on the service, after ``beginLeaving(_:)``.
    /// - Throws: What `remove` threw; `.changedOnServer` if the name came to stand for another file.
    func detaching(
        _ inode: InodeNumber,
        _ place: Place,
        _ remove: (FileContent) async throws(FileSystemError) -> Void
    ) async throws(FileSystemError) {
        let content = self.use(inode)
        defer { self.endUse(content) }
        self.stopUpload(of: content)
        try await content.transfer.alone { () throws(FileSystemError) in
            // Gone also where what came after it failed.
            defer {
                let isGone = self.namespace.location(of: inode) == nil
                content.endLeaving(isGone: isGone)
                if isGone { self.queue.forget(inode) }
            }
            try self.checkName(place, stillOf: inode)
            try await remove(content)
        }
    }

    /// Makes sure that a name stands for no other file than before its upload was waited for: that may have found somebody
    /// else's file in its place, which has the name now.
    func checkName(_ place: Place, stillOf inode: InodeNumber) throws(FileSystemError) {
        let known = self.namespace.known(place.name, in: place.parent)
        if let known, known.inode != inode { throw .changedOnServer }
    }

    /// Who reads a file gets what only the service has, before the service takes it away; nobody else opens it then.
    ///
    /// What the service has not any more, as others have replaced it, nobody can give them: they are told when they read.
    func beginLeaving(_ content: FileContent) async throws(FileSystemError) {
        var lossCount = 0
        repeat {
            guard content.hasReaders else { continue }
            do throws(FileSystemError) {
                try await self.fetchAll(content)
            } catch {
                guard [.changedOnServer, .stale, .remote(.notFound)].contains(error) else { throw error }
                lossCount += 1
                self.forgetVersion(of: content)
            }
        } while !content.beginLeaving(isLost: lossCount == Self.lossLimit)
    }

    /// So often what is there now is asked for, where others replace it all the time.
    private static let lossLimit = 3

    /// Does something that looks at names and then changes them, while the directories above them stand still.
    func changingNames<Value: Sendable>(
        _ keys: [NameKey],
        moving directories: Set<InodeNumber> = [],
        _ body: () async throws(FileSystemError) -> Value
    ) async throws(FileSystemError) -> Value {
        try await self.holding({ keys.map(\.parent) }, alone: directories) { () throws(FileSystemError) in
            try await self.names.withLocks(keys, body)
        }
    }

    /// What a listing no older than the time to live says of a name.
    func state(of name: FileName, in parent: InodeNumber) async throws(FileSystemError) -> NameState {
        let state = try await self.fail { () throws(RemoteError) in
            try await self.namespace.resolve(name, in: parent)
        }
        if case .noDirectory = state { throw .noSuchFile }
        return state
    }
}
