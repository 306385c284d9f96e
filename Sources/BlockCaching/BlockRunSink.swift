import Primitives
import Synchronization
import Transport

/// Receives a run of blocks of one file and hands each on as soon as its last byte is there.
final class BlockRunSink: BodySink {
    private struct State {
        var current: ByteBuffer?
        var filled = 0
        var nextBlock: UInt64
        var hasBegun = false
    }

    private let state: Mutex<State>
    private let blocks: Range<UInt64>
    private let size: UInt64
    private let firstByte: @Sendable () -> Void
    private let deliver: @Sendable (UInt64, ByteBuffer) -> Void

    /// Makes a sink for a run of blocks.
    ///
    /// - Parameters:
    ///   - blocks: Their indices, end exclusive.
    ///   - size: The file's size in bytes, which makes the last block short.
    ///   - firstByte: Called once, when bytes come in for the first time.
    ///   - deliver: Gets each full block, in order, on the transport's thread.
    init(
        blocks: Range<UInt64>,
        size: UInt64,
        firstByte: @escaping @Sendable () -> Void,
        deliver: @escaping @Sendable (UInt64, ByteBuffer) -> Void
    ) {
        self.blocks = blocks
        self.size = size
        self.firstByte = firstByte
        self.deliver = deliver
        self.state = Mutex(State(nextBlock: blocks.lowerBound))
    }

    /// Whether a block was handed on.
    var hasDelivered: Bool { self.state.withLock { $0.nextBlock > self.blocks.lowerBound } }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isFirst = self.state.withLock { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        if isFirst { self.firstByte() }
        var rest = bytes
        while !rest.isEmpty {
            let full: (UInt64, ByteBuffer)?? = self.state.withLock { state in
                guard state.nextBlock < self.blocks.upperBound else { return nil }
                let buffer =
                    state.current
                    ?? ByteBuffer(
                        count: BlockGeometry.bytes(ofBlock: state.nextBlock, size: self.size).count
                    )
                state.current = buffer
                let count = min(rest.count, buffer.count - state.filled)
                UnsafeMutableRawBufferPointer(rebasing: buffer.uninitialized[state.filled...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                state.filled += count
                guard state.filled == buffer.count else { return .some(nil) }
                defer {
                    state.current = nil
                    state.filled = 0
                    state.nextBlock += 1
                }
                return (state.nextBlock, buffer)
            }
            // More than was asked for is refused, not dropped.
            guard let full else { return false }
            if let (index, buffer) = full { self.deliver(index, buffer) }
        }
        return true
    }
}
