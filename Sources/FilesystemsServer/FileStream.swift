import Hummingbird
import NIOCore

/// Bytes of an open file on their way to a client, with a bounded number of them in memory.
struct FileStream: Sendable {
    let file: Descriptor
    /// Offsets in bytes, inside the file as it was when it was opened.
    let range: Range<UInt64>
    let disk: DiskPool

    /// Read and sent at once. See docs/server.md for what it costs and brings.
    static let chunkByteCount = 512 * 1024

    /// The file became shorter while it was sent: somebody wrote to the server's own folder.
    struct FileShrank: Error {}

    /// The length of the body.
    var byteCount: Int { self.range.count }

    /// Sends the bytes.
    ///
    /// - Parameters:
    ///   - writer: The body; finished here.
    ///   - loop: The loop of the connection.
    ///   - finished: Called with the number of bytes, before the last of them are sent or when sending failed.
    /// - Throws: ``FileShrank``, `FolderError`, or what the connection threw.
    func send(
        to writer: inout any ResponseBodyWriter,
        on loop: any EventLoop,
        finished: (Int) -> Void
    ) async throws {
        var offset = self.range.lowerBound
        do {
            while offset < self.range.upperBound {
                let count = min(Self.chunkByteCount, Int(self.range.upperBound - offset))
                let chunk = try await self.read(count, at: offset)
                offset += UInt64(count)
                if offset == self.range.upperBound { finished(self.byteCount) }
                try await writer.write(chunk)
                // A write waits only once the loop has found the connection full: until it has looked, any number of
                // chunks would be taken.
                try await loop.submit {}.get()
            }
        } catch {
            if offset < self.range.upperBound { finished(Int(offset - self.range.lowerBound)) }
            throw error
        }
        try await writer.finish(nil)
    }

    /// Reads exactly so many bytes.
    func read(_ count: Int, at offset: UInt64) async throws -> ByteBuffer {
        try await self.disk.run { try Self.read(count, at: offset, of: self.file) }
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
