import Transport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A part of an open file, read with `pread` while it is sent.
public struct FileBodyReader: BodyReader {
    /// The file, open for reading; whoever opened it keeps it open until the transfer has ended, and closes it.
    public let descriptor: Int32
    /// Where the part begins in the file, in bytes.
    public let offset: UInt64
    /// The part's size in bytes.
    public let count: UInt64

    /// Takes a part of a file.
    public init(descriptor: Int32, offset: UInt64, count: UInt64) {
        self.descriptor = descriptor
        self.offset = offset
        self.count = count
    }

    /// Reads; a file that ends before the part does cannot be sent.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let (position, overflow) = self.offset.addingReportingOverflow(offset)
        guard !overflow, let position = off_t(exactly: position) else { return nil }
        while true {
            let count = pread(self.descriptor, buffer.baseAddress, buffer.count, position)
            if count > 0 { return count }
            if count < 0, errno == EINTR { continue }
            return nil
        }
    }
}

/// Bytes in memory.
public struct BytesBodyReader: BodyReader {
    /// The bytes.
    public let bytes: [UInt8]

    /// Takes bytes.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// How many there are.
    public var count: UInt64 { UInt64(self.bytes.count) }

    /// Copies; nothing from beyond the end.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard offset < self.count else { return nil }
        let part = self.bytes[Int(offset)...].prefix(buffer.count)
        part.withUnsafeBytes { buffer.copyMemory(from: $0) }
        return part.count
    }
}
