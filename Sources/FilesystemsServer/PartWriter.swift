import Glibc
import Hummingbird
import WireFormat

/// Takes one part's body from the network to the staged file, a few hundred KiB at a time.
struct PartWriter: Sendable {
    let store: UploadStore
    let upload: Upload
    /// The bytes of the file that the part is.
    let range: Range<UInt64>
    let disk: DiskPool

    /// Written at once. Small enough to bound what a hundred clients hold, large enough that the change of
    /// thread (some 10 µs) costs little.
    private static let chunkByteCount = 512 * 1024

    /// The body broke off: the connection is dead and nobody hears an answer.
    struct Interrupted: Error {
        let cause: any Error
    }

    /// Writes the body; the part counts as received if this returns.
    func write(_ body: RequestBody) async throws {
        try self.upload.partBegan(self.range)
        defer { self.upload.partEnded() }
        let length = Int(self.range.count)
        var pending = ByteBuffer()
        var file: Descriptor?
        var offset = self.range.lowerBound
        do {
            for try await buffer in body {
                var buffer = buffer
                let arrived =
                    offset - self.range.lowerBound + UInt64(pending.readableBytes + buffer.readableBytes)
                guard arrived <= UInt64(length) else {
                    throw UploadError.lengthMismatch(expected: UInt64(length))
                }
                pending.writeBuffer(&buffer)
                if pending.readableBytes >= Self.chunkByteCount, arrived < UInt64(length) {
                    file = try await self.flush(pending, at: offset, into: file)
                    offset += UInt64(pending.readableBytes)
                    pending.clear()
                }
            }
        } catch let error as UploadError {
            throw error
        } catch let error as FolderError {
            throw error
        } catch {
            throw Interrupted(cause: error)
        }
        guard offset + UInt64(pending.readableBytes) == self.range.upperBound else {
            throw UploadError.lengthMismatch(expected: UInt64(length))
        }
        try await self.finish(pending, at: offset, into: file)
    }

    private func flush(_ bytes: ByteBuffer, at offset: UInt64, into file: Descriptor?) async throws
        -> Descriptor
    {
        try await self.disk.run {
            let file = try file ?? self.open()
            try self.upload.writing {
                try bytes.withUnsafeReadableBytes { try file.write($0, at: offset) }
            }
            return file
        }
    }

    private func finish(_ bytes: ByteBuffer, at offset: UInt64, into file: Descriptor?) async throws {
        try await self.disk.run {
            let file = try file ?? self.open()
            try self.upload.writing {
                try bytes.withUnsafeReadableBytes { try file.write($0, at: offset) }
                if !self.range.isEmpty {
                    try self.store.record(.received(self.range), of: self.upload)
                    self.upload.insert(self.range)
                }
            }
        }
    }

    /// Opens the staged file before the part's first byte is written.
    private func open() throws -> Descriptor {
        let file = try self.store.openStaged(self.upload)
        try self.upload.writing {
            if self.upload.forget(self.range) {
                try self.store.record(.overwriting(self.range), of: self.upload)
            }
        }
        return file
    }
}
