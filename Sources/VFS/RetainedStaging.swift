import DequeModule
import Primitives
import Synchronization

/// Remembers which closed files' staged bytes are kept although the service has them, so that reading or renaming what
/// was just written downloads nothing; the oldest go first when there are too many.
final class RetainedStaging: Sendable {
    private struct State {
        var byteCounts: [InodeNumber: UInt64] = [:]
        var order: Deque<InodeNumber> = []
        var byteCount: UInt64 = 0

        mutating func takeOldest() -> (inode: InodeNumber, byteCount: UInt64)? {
            guard let inode = self.order.popFirst() else { return nil }
            let count = self.byteCounts.removeValue(forKey: inode) ?? 0
            self.byteCount -= count
            return (inode, count)
        }
    }

    private let state = Mutex(State())
    /// On the local disk.
    private let maximumByteCount: UInt64
    /// Each holds a descriptor.
    private static let maximumCount = 256

    /// Keeps none yet.
    ///
    /// - Parameter maximumByteCount: How many bytes of the local disk they may take together.
    init(maximumByteCount: UInt64) {
        self.maximumByteCount = maximumByteCount
    }

    /// Forgets a file whose staged bytes went.
    func remove(_ inode: InodeNumber) {
        self.state.withLock { state in
            guard let byteCount = state.byteCounts.removeValue(forKey: inode) else { return }
            state.byteCount -= byteCount
            state.order.removeAll { $0 == inode }
        }
    }

    /// Adds a file.
    ///
    /// - Returns: Those whose staged bytes must go for it; its own, too, if they are more than there may be.
    func add(_ inode: InodeNumber, byteCount: UInt64) -> [InodeNumber] {
        self.state.withLock { state in
            if let old = state.byteCounts.updateValue(byteCount, forKey: inode) {
                state.byteCount -= old
            } else {
                state.order.append(inode)
            }
            state.byteCount += byteCount
            var evicted: [InodeNumber] = []
            while state.order.count > Self.maximumCount || state.byteCount > self.maximumByteCount,
                let oldest = state.takeOldest()
            {
                evicted.append(oldest.inode)
            }
            return evicted
        }
    }

    /// Takes the file out that was added first.
    func takeOldest() -> (inode: InodeNumber, byteCount: UInt64)? { self.state.withLock { $0.takeOldest() } }
}
