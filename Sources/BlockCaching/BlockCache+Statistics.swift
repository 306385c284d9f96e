import Primitives

extension BlockCache {
    /// Figures of the cache since the start.
    public struct Statistics: Sendable {
        /// Requests sent, a run of blocks each.
        public var fetchCount = 0
        /// Bytes that arrived from the service.
        public var fetchedByteCount = 0
        /// Blocks answered from memory, and blocks that had to be waited for.
        public var hitCount = 0
        /// Blocks that had to be waited for.
        public var missCount = 0
        /// Blocks that came from the disk.
        public var diskHitCount = 0
        /// Blocks that came from the service.
        public var fetchedBlockCount = 0
        /// What blocks in memory take now, in bytes.
        public var memoryByteCount = 0
    }

    /// What all buffers take, in bytes: the blocks in memory for readers, and also what comes in, waits for the disk or to
    /// be written, or is on its way to the kernel.
    public static var bufferByteCount: Int { ByteBuffer.byteCountInUse }
}
