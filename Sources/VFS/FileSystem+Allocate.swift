import Staging
import SystemPackage

// Room on the local disk for what is to be written: fallocate(2).

extension FileSystem {
    /// Makes room for a range (fallocate(2) with mode 0); the file grows to it.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - range: Offsets in bytes, end exclusive.
    ///   - process: Which process does it; 0 if it is not known.
    /// - Throws: `.local` with ENOSPC if there is no room, or why the file's size cannot be had.
    public func allocate(
        _ handle: FileHandle,
        _ range: Range<UInt64>,
        by process: Int32
    ) async throws(FileSystemError) {
        guard range.upperBound <= self.maximumFileByteCount else { throw .fileTooLarge }
        try await self.modify(handle.content, through: handle) { staged throws(Errno) in
            try staged.allocate(range)
            return true
        }
        handle.writers.withLock { $0.insert(process) }
    }

    /// Makes room for a range and leaves the file as it is (fallocate(2) with FALLOC_FL_KEEP_SIZE); the room is kept
    /// until the file is closed by all.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - range: Offsets in bytes, end exclusive; it may lie beyond the end of the file.
    ///   - size: How large the file is to become, in bytes, as far as can be told: a guess, which costs an upload in vain
    ///     if it is wrong.
    /// - Throws: `.local` with ENOSPC if there is no room, or why the file's size cannot be had.
    public func reserve(
        _ handle: FileHandle,
        _ range: Range<UInt64>,
        expecting size: UInt64
    ) async throws(FileSystemError) {
        guard range.upperBound <= self.maximumFileByteCount else { throw .fileTooLarge }
        let content = handle.content
        try self.checkPlace(of: content)
        // Clean if it was clean: nothing is to be uploaded for this.
        let staged = try await self.stagedForWriting(content, emptied: false)
        do throws(Errno) { try staged.reserve(range) } catch { throw .local(error) }
        // Who makes room piece by piece tells with none of them how large the file is to become.
        if range.lowerBound == 0 { content.early.expect(size, of: staged) }
    }
}
