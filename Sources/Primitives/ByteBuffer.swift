/// Memory with an owner, filled once and then only read.
///
/// The memory is valid as long as the object lives.
public final class ByteBuffer: @unchecked Sendable {
    // Unchecked: whoever makes a buffer fills it before handing it on (the lock or task that hands it on orders
    // the two), and nobody writes to it after that.
    private let memory: UnsafeMutableRawBufferPointer

    /// Makes a buffer of uninitialised memory, `count` bytes long.
    public init(count: Int) {
        self.memory = BufferPool.allocate(count)
        self.count = count
    }

    deinit {
        BufferPool.release(self.memory)
    }

    /// The length in bytes.
    public let count: Int

    /// What it takes of memory, in bytes, about, with what is noted of it: of a small one that is most.
    public var footprint: Int { BufferPool.footprint(of: self.count) }

    /// What all buffers take together, whoever has them, in bytes.
    public static var byteCountInUse: Int { BufferPool.usedByteCount }

    /// The bytes, to be read.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self.memory[..<self.count]) }

    /// The bytes, to be filled by the maker alone, before the buffer is handed on.
    public var uninitialized: UnsafeMutableRawBufferPointer { .init(rebasing: self.memory[..<self.count]) }
}

/// A part of a buffer, kept alive with it.
public struct ByteSlice: Sendable {
    /// The buffer.
    public let buffer: ByteBuffer
    /// Offsets in the buffer, end exclusive.
    public let range: Range<Int>

    /// Makes a slice; the range lies within the buffer.
    public init(_ buffer: ByteBuffer, _ range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= buffer.count,
            "a slice lies within its buffer"
        )
        self.buffer = buffer
        self.range = range
    }

    /// Makes a slice of the whole buffer.
    public init(_ buffer: ByteBuffer) {
        self.init(buffer, 0..<buffer.count)
    }

    /// The bytes, valid as long as the slice lives.
    public var bytes: UnsafeRawBufferPointer { .init(rebasing: self.buffer.bytes[self.range]) }
}
