import Primitives
import Synchronization
import Transport

// Blocks that were asked for before the version they belong to was known.

extension BlockCache {
    /// Takes a block that was fetched ahead in another way than with ``readAhead(_:_:)``.
    ///
    /// - Parameters:
    ///   - source: The version that it belongs to.
    ///   - index: Which of its blocks.
    ///   - buffer: All of the block.
    ///   - reader: What reads ahead and asked for it, if that is what it is for.
    ///   - isAhead: Whether it is expected to be read.
    ///   - isCurrent: Whether the file is still of this version, as far as this mount knows: what it changes from
    ///     then on is forgotten again.
    public func insert(
        _ source: BlockSource,
        block index: UInt64,
        _ buffer: ByteBuffer,
        for reader: BlockReader? = nil,
        isAhead: Bool = true,
        if isCurrent: () -> Bool
    ) {
        let file = self.disk?.file(source)
        guard isCurrent() else { return }
        let owner = isAhead ? reader?.noteReadAhead() ?? 0 : nil
        let budget = self.currentBudget
        self.state.withLock { state in
            state.statistics.fetchCount += 1
            state.statistics.fetchedByteCount += buffer.count
            state.statistics.fetchedBlockCount += 1
            state.keep(to: budget)
            state.memory.insert(BlockKey(source.content, index), buffer, aheadOf: owner)
            self.blockByteCount.store(state.memory.byteCount, ordering: .relaxed)
        }
        if let file { self.storeOnDisk(BlockKey(source.content, index), buffer, of: file) }
    }
}

/// Receives the first block of a file whose size is not known yet.
public final class HeadSink: BodySink {
    private struct State {
        var buffer: ByteBuffer?
        var count = 0
        var firstByteMoment: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> ContinuousClock.Instant
    /// So much later than a whole block the size of its file may come.
    private static let patience = Duration.seconds(1)

    /// Makes an empty one.
    ///
    /// - Parameter now: The time.
    public init(now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) {
        self.now = now
    }

    /// Takes bytes; more than a block is refused.
    public func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.state.withLock { state in
            let buffer = state.buffer ?? ByteBuffer(count: Int(BlockGeometry.blockByteCount))
            state.buffer = buffer
            if state.firstByteMoment == nil { state.firstByteMoment = self.now() }
            guard bytes.count <= buffer.count - state.count else { return false }
            UnsafeMutableRawBufferPointer(rebasing: buffer.uninitialized[state.count...])
                .copyMemory(from: bytes)
            state.count += bytes.count
            return true
        }
    }

    /// The first block of a file of a size.
    ///
    /// - Parameters:
    ///   - size: The size in bytes.
    ///   - moment: When that came in.
    /// - Returns: The block; nothing if what came is not exactly that, or the file is empty. A whole block says nothing
    ///   of how long its file was. So it is taken only if the size came before it, or soon after: what was sent again,
    ///   or waited for its turn, may be of a file that has replaced the one of the block.
    public func block(ofFileOfSize size: UInt64, seen moment: ContinuousClock.Instant) -> ByteBuffer? {
        self.state.withLock { state in
            let expected = min(size, BlockGeometry.blockByteCount)
            guard let buffer = state.buffer, let first = state.firstByteMoment,
                expected == UInt64(state.count)
            else { return nil }
            if buffer.count == state.count { return moment - first <= Self.patience ? buffer : nil }
            // The cache counts what blocks take.
            let block = ByteBuffer(count: state.count)
            block.uninitialized.copyMemory(from: .init(rebasing: buffer.bytes[..<state.count]))
            return block
        }
    }
}
