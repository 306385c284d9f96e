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
    ///   - isCurrent: Whether the file is still of this version, as far as this mount knows: what it changes from
    ///     then on is forgotten again.
    public func insert(
        _ source: BlockSource,
        block index: UInt64,
        _ buffer: ByteBuffer,
        if isCurrent: () -> Bool
    ) {
        let file = self.disk?.file(source)
        guard isCurrent() else { return }
        self.state.withLock { state in
            state.statistics.fetchCount += 1
            state.statistics.fetchedByteCount += buffer.count
            state.statistics.fetchedBlockCount += 1
            state.memory.insert(BlockKey(source.content, index), buffer, isAhead: true)
        }
        if let file { self.storeOnDisk(BlockKey(source.content, index), buffer, of: file) }
    }
}

/// Receives the first block of a file whose size is not known yet.
public final class HeadSink: BodySink {
    private struct State {
        var buffer: ByteBuffer?
        var count = 0
    }

    private let state = Mutex(State())

    /// Makes an empty one.
    public init() {}

    /// Takes bytes; more than a block is refused.
    public func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.state.withLock { state in
            let buffer = state.buffer ?? ByteBuffer(count: Int(BlockGeometry.blockByteCount))
            state.buffer = buffer
            guard bytes.count <= buffer.count - state.count else { return false }
            UnsafeMutableRawBufferPointer(rebasing: buffer.uninitialized[state.count...])
                .copyMemory(from: bytes)
            state.count += bytes.count
            return true
        }
    }

    /// The first block of a file of a size; nothing if what came is not exactly that, or the file is empty.
    public func block(ofFileOfSize size: UInt64) -> ByteBuffer? {
        self.state.withLock { state in
            let expected = min(size, BlockGeometry.blockByteCount)
            guard let buffer = state.buffer, expected == UInt64(state.count) else { return nil }
            if buffer.count == state.count { return buffer }
            // The cache counts what blocks take.
            let block = ByteBuffer(count: state.count)
            block.uninitialized.copyMemory(from: .init(rebasing: buffer.bytes[..<state.count]))
            return block
        }
    }
}
