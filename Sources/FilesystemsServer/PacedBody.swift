import Hummingbird
import NIOCore
import Synchronization

/// An answer's body that goes to a client piece by piece, with a bounded number of bytes in the connection, and not to one
/// that takes none.
struct PacedBody: Sendable {
    /// Its length.
    let byteCount: Int
    /// Gives the bytes of a part of it, exactly as many as that has.
    let piece: @Sendable (Range<Int>) async throws -> ByteBuffer

    /// Sent at once. See docs/server.md for what it costs and brings.
    static let pieceByteCount = 512 * 1024

    /// Takes how to get at the bytes.
    init(byteCount: Int, piece: @escaping @Sendable (Range<Int>) async throws -> ByteBuffer) {
        self.byteCount = byteCount
        self.piece = piece
    }

    /// Takes bytes that are in memory, and what that counts as until they are sent.
    init(_ bytes: ByteBuffer, _ share: AnswerMemory.Share) {
        self.init(byteCount: bytes.readableBytes) { part in
            withExtendedLifetime(share) {
                // A copy: a slice would keep all of the bytes until a client takes it, long after the share has gone.
                ByteBuffer(bytes: bytes.readableBytesView.dropFirst(part.lowerBound).prefix(part.count))
            }
        }
    }

    /// Sends the bytes.
    ///
    /// - Parameters:
    ///   - writer: The body; finished here.
    ///   - channel: The connection.
    ///   - patience: The connection is closed if no piece has gone out for so long, and for twice as long at most.
    ///   - finished: Called with the number of bytes, before the last of them are sent or when sending failed.
    /// - Throws: What `piece` or the connection threw.
    func send(
        to writer: inout any ResponseBodyWriter,
        on channel: any Channel,
        patience: TimeAmount,
        finished: (Int) -> Void
    ) async throws {
        let progress = Progress()
        // The server's own look at silent connections leaves alone those that are answered.
        let watch = channel.eventLoop.scheduleRepeatedTask(initialDelay: patience, delay: patience) { _ in
            if progress.standsStill { channel.close(promise: nil) }
        }
        defer { watch.cancel() }
        var sent = 0
        do {
            while sent < self.byteCount {
                let part = sent..<min(sent + Self.pieceByteCount, self.byteCount)
                let bytes = try await self.piece(part)
                if part.upperBound == self.byteCount { finished(self.byteCount) }
                sent = part.upperBound
                try await writer.write(bytes)
                // A write waits only once the loop has found the connection full: until it has looked, any number of
                // pieces would be taken.
                try await channel.eventLoop.submit {}.get()
                progress.note()
            }
        } catch {
            if sent < self.byteCount { finished(sent) }
            throw error
        }
        try await writer.finish(nil)
    }

    /// Whether pieces go out.
    private final class Progress: Sendable {
        private let hasMoved = Atomic(false)

        func note() { self.hasMoved.store(true, ordering: .relaxed) }

        /// Whether nothing has gone out since this was last asked.
        var standsStill: Bool { !self.hasMoved.exchange(false, ordering: .relaxed) }
    }
}
