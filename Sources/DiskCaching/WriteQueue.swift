import Primitives

/// A block that waits to be written.
struct QueuedBlock: Sendable {
    let file: DiskFile
    let seal: BlockSeal
    let buffer: ByteBuffer

    /// What it takes in a segment, and here: a small buffer holds a page too.
    var byteCount: Int { self.buffer.count.alignedForBlock }
}

/// Blocks that wait to be written, bounded in bytes.
struct WriteQueue: Sendable {
    private var blocks: [QueuedBlock] = []
    /// Of what waits and of what is being written.
    private(set) var byteCount = 0
    private var isScheduled = false
    private var isUrgent = false

    /// When the writer has to look at the queue.
    enum Call {
        case soon, now
    }

    /// Whether a block of so many bytes can wait here.
    func hasRoom(for byteCount: Int, limit: Int) -> Bool { self.byteCount + byteCount <= limit }

    /// Adds a block, and says when to call the writer, if it has not been called yet: at once with 4 MiB, or a
    /// quarter of the queue's limit.
    mutating func append(_ block: QueuedBlock, limit: Int) -> Call? {
        self.blocks.append(block)
        self.byteCount += block.byteCount
        if self.byteCount >= min(limit / 4, 4 << 20) && !self.isUrgent {
            self.isUrgent = true
            self.isScheduled = true
            return .now
        }
        if self.isScheduled { return nil }
        self.isScheduled = true
        return .soon
    }

    /// Takes all that waits; ``finish(_:)`` is due.
    mutating func take() -> [QueuedBlock] {
        self.isScheduled = false
        self.isUrgent = false
        defer { self.blocks = [] }
        return self.blocks
    }

    /// Notes that so many bytes of blocks no longer wait.
    mutating func finish(_ byteCount: Int) { self.byteCount -= byteCount }
}
