import Inodes
import Primitives

// Staged bytes that the service has, too: they save downloads, and go where they are in the way.

extension FileSystem {
    /// Keeps the staged bytes of what was just uploaded for reads and renames, and lets the oldest of such go.
    func retain(_ content: FileContent) {
        guard let staged = content.staged, !staged.isDirty, !content.isUnlinked else { return }
        for inode in self.retained.add(content.inode, byteCount: staged.localByteCount) {
            self.forgetStaged(of: inode)
        }
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
}
