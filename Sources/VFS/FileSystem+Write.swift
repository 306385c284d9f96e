import Inodes
import Primitives
import RemoteAPI
import Staging
import SystemPackage

// What changes a file's bytes here: write(2), and what cuts and fallocate(2) have in common with it.

extension FileSystem {
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
    ///   - handle: Through which handle, if through one.
    ///   - emptied: Whether nothing of the present bytes is wanted.
    ///   - cutSize: To how many bytes it is cut, if it is.
    ///   - change: The change, made again if the staged file was let go meanwhile, or if it returns `false` as what was
    ///     promised of it has to stay.
    /// - Throws: Why it was not done.
    func modify(
        _ content: FileContent,
        through handle: FileHandle?,
        emptied: Bool = false,
        cuttingTo cutSize: UInt64? = nil,
        _ change: @Sendable (StagedFile) throws(Errno) -> Bool
    ) async throws(FileSystemError) {
        let staged = try await content.laterWrites.alone { () throws(FileSystemError) in
            try await self.modifyInTurn(content, handle, emptied: emptied, cuttingTo: cutSize, change)
        }
        await staged.didChange()
    }

    /// As ``modify(_:through:emptied:cuttingTo:_:)``, for who holds ``FileContent/laterWrites``.
    ///
    /// - Returns: What was changed.
    private func modifyInTurn(
        _ content: FileContent,
        _ handle: FileHandle?,
        emptied: Bool,
        cuttingTo cutSize: UInt64?,
        _ change: @Sendable (StagedFile) throws(Errno) -> Bool
    ) async throws(FileSystemError) -> StagedFile {
        var isAnew = false
        while true {
            try self.checkPlace(of: content)
            let staged = try await self.stagedForWriting(content, emptied: emptied)
            // Not before: what is given up by then would be followed by what is staged now.
            try handle?.checkLoss()
            // Of a local file that the disk failed to take once nothing is believed any more.
            let isSpoiled = emptied && !isAnew && staged.diskFailure() != nil
            if emptied, staged.holdsPromise || isSpoiled, !content.isUnlinked {
                try await self.stageAnew(content, after: staged)
                isAnew = true
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
        try handle.checkLoss()
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
        try await self.modify(handle.content, through: handle) { staged throws(Errno) in
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
}
