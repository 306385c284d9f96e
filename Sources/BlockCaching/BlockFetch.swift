import Primitives
import RemoteAPI
import Synchronization

/// A request for a run of blocks.
final class BlockFetch: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isCancelled = false
    }

    /// The version that they are of.
    let content: ContentID
    /// Block indices, end exclusive.
    let run: Range<UInt64>
    /// The file's size in bytes, which makes its last block short.
    private let size: UInt64
    /// Raised when somebody begins to wait for one of its blocks.
    let urgency: RequestUrgency
    private let state = Mutex(State())

    init(_ run: Range<UInt64>, of source: BlockSource, isAhead: Bool) {
        self.content = source.content
        self.run = run
        self.size = source.size
        self.urgency = isAhead ? .ahead() : .waitedFor
    }

    func byteCount(ofBlock index: UInt64) -> Int {
        BlockGeometry.bytes(ofBlock: index, size: self.size).count
    }

    func begin(_ task: Task<Void, Never>) {
        let isCancelled = self.state.withLock { state in
            state.task = task
            return state.isCancelled
        }
        if isCancelled { task.cancel() }
    }

    func cancel() {
        let task = self.state.withLock { state in
            state.isCancelled = true
            return state.task
        }
        task?.cancel()
    }
}

/// A block that is on its way.
struct LoadingBlock {
    let fetch: BlockFetch
    /// The reader ahead of which it was asked for, 0 if that is several or nobody in particular; nothing if somebody
    /// waited for it from the start.
    var owner: UInt64?
    /// Whether nobody has waited for it yet.
    var isAhead: Bool
    var waiters: [PendingRead] = []
}
