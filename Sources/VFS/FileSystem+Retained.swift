import BlockCaching
import Inodes
import Primitives
import Staging

// Staged bytes that the service has, too: they save downloads, and go where they are in the way.

extension FileSystem {
    /// Keeps the staged bytes of what was just uploaded for reads and renames, and lets the oldest of such go.
    func retain(_ content: FileContent) {
        guard let staged = content.staged, !staged.isDirty, !content.isUnlinked else { return }
        for inode in self.retained.add(content.inode, byteCount: staged.localByteCount) {
            self.forgetStaged(of: inode)
        }
        // Where there is little room left it is for other programs.
        while self.staging.isDiskCrowded, self.freeRetained(1) {}
    }

    /// Lets the oldest of such bytes go until the local disk has room.
    ///
    /// - Parameter byteCount: For how many bytes.
    /// - Returns: Whether some went.
    func freeRetained(_ byteCount: Int) -> Bool {
        var freed: UInt64 = 0
        while freed < max(1, byteCount), let oldest = self.retained.takeOldest() {
            if self.forgetStaged(of: oldest.inode) { freed += oldest.byteCount }
        }
        return freed > 0
    }

    /// Lets the staged bytes of a file go, if it is not in use; else it comes back to ``retain(_:)`` with its last release.
    @discardableResult
    private func forgetStaged(of inode: InodeNumber) -> Bool {
        guard let content = self.existingContent(of: inode) else { return false }
        self.letGo(content) { state in
            if state.useCount == 0, state.staged?.isDirty == false { state.staged = nil }
        }
        return content.staged == nil
    }

    /// Brings all bytes of a file here, since its place on the service is about to go.
    func fetchAll(_ content: FileContent) async throws(FileSystemError) {
        let staged = try await self.stagedForWriting(content, emptied: false)
        try await self.bringHere([0..<staged.size], staged, of: content)
    }

    /// Brings what only the service has of some ranges here, unless something else is the file's by now.
    func bringHere(
        _ ranges: [Range<UInt64>],
        _ staged: StagedFile,
        of content: FileContent
    ) async throws(FileSystemError) {
        guard !ranges.isEmpty else { return }
        let (isPresent, base) = content.state.withLock { ($0.staged === staged, $0.base) }
        guard isPresent else { return }
        let source = self.source(of: content, staged, over: base, size: staged.size)
        if ranges.count > 1, let base = source.base {
            // All at once, not one after the other.
            for range in ranges { self.cache.readAhead(base, range) }
        }
        let step: UInt64 = 4 << 20
        for range in ranges {
            for start in stride(from: range.lowerBound, to: range.upperBound, by: Int(step)) {
                let range = start..<min(start + step, range.upperBound)
                for (piece, isHere) in staged.pieces(of: range) where !isHere {
                    var offset = piece.lowerBound
                    for slice in try await self.uploader.slices(of: piece, source) {
                        do { try staged.fill(slice.bytes, at: offset) } catch { throw .local(error) }
                        offset += UInt64(slice.range.count)
                    }
                }
            }
        }
    }
}
