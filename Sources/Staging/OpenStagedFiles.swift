import Dispatch
import Synchronization

/// Keeps the number of local files that are open within bounds: thousands may wait to be uploaded.
final class OpenStagedFiles: Sendable {
    private struct Opened: Sendable {
        weak let file: StagedFile?
        /// Counts openings.
        let order: UInt64
    }

    private struct Table {
        var files: [UInt64: Opened] = [:]
        var nextOrder: UInt64 = 0
        var isClosing = false
    }

    private let table = Mutex(Table())
    private let closer = DispatchQueue(label: "tetherfs.close")
    /// Of 1024 that a process may have by default the others are connections and segments of the cache.
    private let limit: Int

    init(limit: Int = 256) {
        self.limit = limit
    }

    /// How many are open.
    var count: Int { self.table.withLock { $0.files.count } }

    /// A file was opened; called with its lock held. Beyond the limit the ones opened first are closed some time later.
    func didOpen(_ file: StagedFile) {
        let mustClose = self.table.withLock { table in
            table.files[file.number] = Opened(file: file, order: table.nextOrder)
            table.nextOrder += 1
            guard table.files.count > self.limit, !table.isClosing else { return false }
            table.isClosing = true
            return true
        }
        if mustClose { self.closer.async { [self] in self.closeOldest() } }
    }

    /// A file was closed, or is no more; called with its lock held.
    func didClose(_ number: UInt64) {
        self.table.withLock { $0.files[number] = nil }
    }

    /// Closes a quarter, so that it is not to be done again for each that is opened.
    private func closeOldest() {
        let (files, excess) = self.table.withLock { table in
            table.isClosing = false
            let excess = max(0, table.files.count - self.limit + self.limit / 4)
            // All of them, to be let go without the lock: with its last owner gone, a file would end here and close itself.
            return (table.files.values.sorted { $0.order < $1.order }.compactMap(\.file), excess)
        }
        for file in files.prefix(excess) { file.closeUntilUsed() }
    }
}
