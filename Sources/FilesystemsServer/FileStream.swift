import NIOCore

/// Bytes of an open file, for an answer that is read as it is sent.
struct FileStream: Sendable {
    let file: Descriptor
    /// Offsets in bytes, inside the file as it was when it was opened.
    let range: Range<UInt64>
    let disk: DiskPool

    /// The file became shorter while it was sent: somebody wrote to the server's own folder.
    struct FileShrank: Error {}

    /// The bytes as an answer's body.
    var body: PacedBody {
        PacedBody(byteCount: self.range.count) { part in
            let offset = self.range.lowerBound + UInt64(part.lowerBound)
            return try await self.disk.run { try Self.read(part.count, at: offset, of: self.file) }
        }
    }

    /// Reads exactly so many bytes. Waits for the disk.
    static func read(_ count: Int, at offset: UInt64, of file: Descriptor) throws -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        let got = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: offset)
        }
        guard got == count else { throw FileShrank() }
        return buffer
    }
}
