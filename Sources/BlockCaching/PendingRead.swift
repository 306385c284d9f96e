import Primitives
import Synchronization

/// A read that waits for blocks; it is answered once.
public final class PendingRead: Sendable {
    private struct State {
        /// The blocks from the first one on.
        var have: [ByteBuffer?]
        var missingCount: Int
        var completion: (@Sendable (Result<[ByteSlice], BlockError>) -> Void)?
        var onCancel: (@Sendable (PendingRead) -> Void)?
    }

    let blocks: Range<UInt64>
    private let range: Range<UInt64>
    private let state: Mutex<State>

    init(
        range: Range<UInt64>,
        blocks: Range<UInt64>,
        have: [ByteBuffer?],
        completion: @escaping @Sendable (Result<[ByteSlice], BlockError>) -> Void
    ) {
        self.range = range
        self.blocks = blocks
        let missingCount = have.count { $0 == nil }
        self.state = Mutex(State(have: have, missingCount: missingCount, completion: completion))
    }

    /// Gives the read up: its completion is called with `.cancelled`, unless it was answered before.
    public func cancel() {
        let (completion, onCancel) = self.state.withLock { state in
            defer { state.completion = nil }
            return (state.completion, state.onCancel)
        }
        guard let completion else { return }
        onCancel?(self)
        completion(.failure(.cancelled))
    }

    /// Sets what takes the read off its blocks when it is cancelled.
    func whenCancelled(_ action: @escaping @Sendable (PendingRead) -> Void) {
        self.state.withLock { $0.onCancel = action }
    }

    /// Takes one of the blocks, or the reason why it did not come.
    func receive(_ index: UInt64, _ result: Result<ByteBuffer, BlockError>) {
        typealias Completion = @Sendable (Result<[ByteSlice], BlockError>) -> Void
        let answer: (Completion, Result<[ByteSlice], BlockError>)? = self.state.withLock { state in
            guard let completion = state.completion else { return nil }
            switch result {
            case .failure(let error):
                state.completion = nil
                return (completion, .failure(error))
            case .success(let buffer):
                state.have[Int(index - self.blocks.lowerBound)] = buffer
                state.missingCount -= 1
                guard state.missingCount == 0 else { return nil }
                state.completion = nil
                return (completion, .success(BlockCache.slices(self.range, self.blocks, state.have)))
            }
        }
        answer?.0(answer?.1 ?? .failure(.cancelled))
    }
}
