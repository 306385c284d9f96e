import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import Staging
import SystemPackage
import WireFormat

/// How a file is opened.
public struct OpenMode: Sendable {
    /// For reading.
    public var reads: Bool
    /// For writing.
    public var writes: Bool
    /// Emptied first (O_TRUNC).
    public var truncates: Bool
    /// It must not be there yet (O_EXCL with O_CREAT).
    public var isExclusive: Bool

    /// Makes a mode.
    public init(reads: Bool, writes: Bool, truncates: Bool = false, isExclusive: Bool = false) {
        self.reads = reads
        self.writes = writes
        self.truncates = truncates
        self.isExclusive = isExclusive
    }
}

extension FileSystem {
    /// The largest file, in bytes.
    public var maximumFileByteCount: UInt64 { BlockGeometry.maximumFileByteCount }

    /// Opens a file whose size is known; nothing if it must be asked for first.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - mode: How it is opened.
    ///   - process: Which process opens it; 0 if it is not known.
    /// - Returns: The handle, and whether the kernel may keep the pages that it has.
    /// - Throws: If it is gone, or no file.
    public func openNow(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> (FileHandle, keepsPages: Bool)? {
        guard let kind = self.namespace.kind(of: inode) else { throw .stale }
        guard kind == .file else { throw .isDirectory }
        if mode.truncates { return nil }
        let content = self.existingContent(of: inode)
        let isLocal = content?.isDirty == true || content?.isUnlinked == true
        guard isLocal || self.namespace.freshVersion(of: inode) != nil,
            let handle = try self.makeHandle(inode, mode, by: process)
        else { return nil }
        // Its version may have ended just now: then the kernel has pages of that.
        guard let version = self.namespace.knownVersion(of: inode), !isLocal else { return (handle, isLocal) }
        // The kernel does not ask for the bytes of an empty file.
        if mode.reads, version.size == 0, handle.noteRead() {
            self.ahead.didBeginReading(inode, size: 0, at: 0)
        }
        return (handle, self.namespace.serve(version.content, of: inode))
    }

    /// Makes a handle, unless the file's name is about to go.
    ///
    /// - Throws: `.stale` if it is gone: the kernel looks the name up again, of which the program sees nothing.
    private func makeHandle(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> FileHandle? {
        let content = self.use(inode)
        let reader = self.cache.makeReader()
        guard let handle = FileHandle(content, mode, opener: process, reader: reader) else {
            self.endUse(content)
            return nil
        }
        // Counted by now: who takes the name away after this brings its bytes here before.
        if self.namespace.location(of: inode) == nil, !content.outlivesItsName(for: mode) {
            self.release(handle)
            throw .stale
        }
        return handle
    }

    /// Makes a handle, waiting for the end of what takes the file's name away.
    private func makeHandleLater(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) async throws(FileSystemError) -> FileHandle {
        while true {
            if let handle = try self.makeHandle(inode, mode, by: process) { return handle }
            await self.existingContent(of: inode)?.transfer.shared {}
        }
    }

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - mode: How it is opened.
    ///   - process: Which process opens it; 0 if it is not known.
    /// - Returns: The handle, and whether the kernel may keep the pages that it has.
    /// - Throws: If it is gone, or its size cannot be had.
    public func open(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) async throws(FileSystemError) -> (FileHandle, keepsPages: Bool) {
        if let opened = try self.openNow(inode, mode, by: process) { return opened }
        let handle = try await self.makeHandleLater(inode, mode, by: process)
        do throws(FileSystemError) {
            if mode.truncates {
                try await self.truncate(inode, to: 0, through: handle)
                return (handle, false)
            }
            let version = try await self.version(of: inode)
            return (handle, self.namespace.serve(version.content, of: inode))
        } catch {
            self.release(handle)
            throw error
        }
    }

    /// Makes a file and opens it; it is on the service when it was first flushed.
    ///
    /// - Returns: What the kernel is told of the name, counted as a lookup, and the handle.
    public func create(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable,
        mode: OpenMode,
        attributes: AttributeChange,
        by process: Int32
    ) async throws(FileSystemError) -> (LookupReply, FileHandle) {
        let name = try self.name(name)
        return try await self.changingNames([NameKey(parent: parent, name: name)]) {
            () throws(FileSystemError) in
            let (inode, isNew) = try await self.findOrAdd(name, in: parent, mode: mode, attributes)
            if isNew { return try self.openNew(inode, mode, by: process) }
            let (handle, _) = try await self.open(inode, mode, by: process)
            do throws(FileSystemError) {
                let (attributes, validFor) = try await self.getattr(inode)
                guard self.namespace.countLookup(inode) != nil else { throw .noSuchFile }
                let nameValidFor = self.namespace.timeToLive
                return (.entry(attributes, nameValidFor: nameValidFor, attributesValidFor: validFor), handle)
            } catch {
                self.release(handle)
                throw error
            }
        }
    }

    private func findOrAdd(
        _ name: FileName,
        in parent: InodeNumber,
        mode: OpenMode,
        _ attributes: AttributeChange
    ) async throws(FileSystemError) -> (InodeNumber, isNew: Bool) {
        let state = try await self.fail { () throws(RemoteError) in
            try await self.namespace.resolve(name, in: parent)
        }
        switch state {
        case .unknown, .noDirectory: throw .noSuchFile
        case .present(_, .directory, _): throw mode.isExclusive ? .exists : .isDirectory
        case .present(let inode, .file, _):
            if mode.isExclusive { throw .exists }
            return (inode, false)
        case .absent:
            let inode = self.namespace.addLocalFile(name, in: parent, at: .now())
            self.namespace.setInitialAttributes(of: inode, attributes, at: .now())
            return (inode, true)
        }
    }

    private func openNew(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> (LookupReply, FileHandle) {
        let content = self.use(inode)
        // `use` pins it too.
        self.namespace.unpin(inode)
        let reader = self.cache.makeReader()
        guard let handle = FileHandle(content, mode, opener: process, reader: reader) else {
            self.endUse(content)
            throw .stale
        }
        do throws(FileSystemError) {
            _ = try self.stageEmpty(content)
            guard let attributes = self.namespace.countLookup(inode) else { throw .noSuchFile }
            let validFor = self.namespace.timeToLive
            return (.entry(attributes, nameValidFor: validFor, attributesValidFor: validFor), handle)
        } catch {
            if let (parent, name) = self.namespace.location(of: inode) {
                self.namespace.remove(name, in: parent, at: .now())
            }
            content.state.withLock { $0.isUnlinked = true }
            self.release(handle)
            throw error
        }
    }

    /// The staged file that writes go to.
    ///
    /// - Parameters:
    ///   - content: Whose.
    ///   - emptied: Whether nothing of the present bytes is wanted, so that their size need not be known.
    /// - Returns: The staged file; while it is clean it may be let go at any time.
    /// - Throws: Why the size cannot be had, or the local disk's error.
    func stagedForWriting(_ content: FileContent, emptied: Bool) async throws(FileSystemError) -> StagedFile {
        // What is replaced has to be known, for the case that others replace it too before this is uploaded.
        if emptied, !content.isDirty, self.options.mode == .writeBack, !content.isUnlinked,
            self.namespace.isOnServer(content.inode)
        {
            _ = try await self.version(of: content.inode)
        }
        var staged = content.currentStaged(known: self.namespace.knownVersion(of: content.inode))?.file
        if let copy = staged, !copy.isDirty, try self.wasLost(copy, of: content) { staged = nil }
        if let staged, emptied || staged.isDirty || content.isOnItsOwn { return staged }
        if emptied { return try self.stageEmpty(content) }
        // What is here and clean may be of a version that is long past.
        return try self.stage(content, base: try await self.version(of: content.inode))
    }

    /// Changes a file's bytes here, after the changes that came before, waiting for an upload that holds them still.
    ///
    /// - Parameters:
    ///   - content: The file's.
    ///   - emptied: Whether nothing of the present bytes is wanted.
    ///   - cutSize: To how many bytes it is cut, if it is.
    ///   - change: The change, made again if the staged file was let go meanwhile, or if it returns `false` as what was
    ///     promised of it has to stay.
    /// - Throws: Why it was not done.
    func modify(
        _ content: FileContent,
        emptied: Bool = false,
        cuttingTo cutSize: UInt64? = nil,
        _ change: @Sendable (StagedFile) throws(Errno) -> Bool
    ) async throws(FileSystemError) {
        let staged = try await content.laterWrites.alone { () throws(FileSystemError) in
            try await self.modifyInTurn(content, emptied: emptied, cuttingTo: cutSize, change)
        }
        await staged.didChange()
    }

    /// As ``modify(_:emptied:cuttingTo:_:)``, for who holds ``FileContent/laterWrites``.
    ///
    /// - Returns: What was changed.
    private func modifyInTurn(
        _ content: FileContent,
        emptied: Bool,
        cuttingTo cutSize: UInt64?,
        _ change: @Sendable (StagedFile) throws(Errno) -> Bool
    ) async throws(FileSystemError) -> StagedFile {
        while true {
            try self.checkPlace(of: content)
            let staged = try await self.stagedForWriting(content, emptied: emptied)
            if emptied, staged.holdsPromise, !content.isUnlinked {
                try await self.stageAnew(content, after: staged)
                continue
            }
            if !emptied, !content.isUnlinked {
                try await self.bringHere(staged.gapsToFill, staged, of: content)
            }
            do throws(Errno) {
                try await staged.prepareToChange(cuttingTo: cutSize)
            } catch {
                throw .local(error)
            }
            defer { staged.cancelCut() }
            let result = await content.writers.shared { () -> Result<Bool, FileSystemError> in
                do throws(FileSystemError) {
                    return .success(try self.apply(change, to: staged, of: content))
                } catch {
                    return .failure(error)
                }
            }
            if try result.get() { return staged }
        }
    }

    /// Changes a staged file, if it is still the content's.
    private func apply(
        _ change: (StagedFile) throws(Errno) -> Bool,
        to staged: StagedFile,
        of content: FileContent
    ) throws(FileSystemError) -> Bool {
        try self.checkPlace(of: content)
        // What was promised is not written over by who meant what came after it.
        if content.former === staged { return false }
        do {
            guard try change(staged) else { return false }
        } catch {
            // Its local file may have gone with it.
            guard content.staged === staged else { return false }
            self.namespace.setHeld(content.inode, staged.isDirty)
            throw .local(error)
        }
        // Once dirty it is not let go: it suffices to look after the change.
        guard content.staged === staged else {
            staged.discard()
            return false
        }
        self.namespace.didWrite(content.inode, size: staged.size, at: .now())
        return true
    }

    /// Where a name is gone, and not by an unlink of ours, there is no place where bytes could go.
    func checkPlace(of content: FileContent) throws(FileSystemError) {
        if self.namespace.location(of: content.inode) != nil { return }
        // Asked after the name: one that we take is gone only once its content is leaving.
        guard content.state.withLock({ $0.isUnlinked || $0.isLeaving }) else { throw .stale }
    }

    /// Writes bytes to a file whose size is known and that no upload holds still.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - bytes: What to write.
    ///   - offset: Where, in bytes from the file's start.
    ///   - process: Which process writes; 0 if it is not known.
    /// - Returns: Whether it was done; else ``write(_:_:at:by:)`` does it.
    /// - Throws: Why it cannot be done.
    public func writeNow(
        _ handle: FileHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: UInt64,
        by process: Int32
    ) throws(FileSystemError) -> Bool {
        try self.checkEnd(offset, bytes.count)
        let content = handle.content
        guard content.laterWrites.tryEnterShared() else { return false }
        defer { content.laterWrites.leaveShared() }
        guard content.writers.tryEnterShared() else { return false }
        defer { content.writers.leaveShared() }
        // The first write must not go over a version that is long past.
        let known = self.namespace.freshVersion(of: content.inode)
        let staged: StagedFile
        if let current = content.currentStaged(known: known)?.file,
            current.isDirty || content.isOnItsOwn || known != nil
        {
            if !current.isDirty, try self.wasLost(current, of: content) { return false }
            staged = current
        } else if let known {
            staged = try self.stage(content, base: known)
        } else {
            return false
        }
        guard staged.takesQuickly(offset..<offset + UInt64(bytes.count)) else { return false }
        let isDone = try self.apply(
            { staged throws(Errno) in
                try staged.write(bytes, at: offset)
                return true
            },
            to: staged,
            of: content
        )
        guard isDone else { return false }
        handle.writers.withLock { $0.insert(process) }
        self.didWrite(offset..<offset + UInt64(bytes.count), to: content, by: process)
        return true
    }

    /// Copies bytes that ``writeNow(_:_:at:by:)`` did not take, to be given to ``write(_:_:at:by:)``.
    ///
    /// - Throws: The local disk's error.
    public func hold(_ bytes: UnsafeRawBufferPointer) throws(FileSystemError) -> HeldWrite {
        do throws(Errno) { return try self.heldWrites.hold(bytes) } catch { throw .local(error) }
    }

    /// Writes bytes to a file, waiting for an upload that holds it still.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - bytes: What to write.
    ///   - offset: Where, in bytes from the file's start.
    ///   - process: Which process writes; 0 if it is not known.
    /// - Throws: Why it was not done.
    public func write(
        _ handle: FileHandle,
        _ bytes: HeldWrite,
        at offset: UInt64,
        by process: Int32
    ) async throws(FileSystemError) {
        try self.checkEnd(offset, bytes.count)
        try await self.modify(handle.content) { staged throws(Errno) in
            try bytes.withBytes { bytes throws(Errno) in try staged.write(bytes, at: offset) }
            return true
        }
        handle.writers.withLock { $0.insert(process) }
        self.didWrite(offset..<offset + UInt64(bytes.count), to: handle.content, by: process)
    }

    private func checkEnd(_ offset: UInt64, _ count: Int) throws(FileSystemError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
        guard !overflow, end <= self.maximumFileByteCount else { throw .fileTooLarge }
    }

    /// Keeps a handle's file in use for work that may go on when the handle is closed, as a signal ended the wait for it.
    public func beginWork(on handle: FileHandle) { _ = self.use(handle.content.inode) }

    /// Ends ``beginWork(on:)``.
    public func endWork(on handle: FileHandle) { self.endUse(handle.content) }

    /// Closes a handle of which the kernel did not hear.
    public func takeBack(_ handle: FileHandle) {
        self.namespace.forgetServed(handle.content.inode)
        self.release(handle)
    }

    /// Closes a handle.
    public func release(_ handle: FileHandle) {
        let content = handle.content
        if handle.isReadable { content.state.withLock { $0.readerCount -= 1 } }
        handle.reader.close()
        if handle.isReadable, !handle.isWritable, handle.isUnread { self.ahead.didNotRead(content.inode) }
        self.endUse(content)
    }
}
