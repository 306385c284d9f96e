import Hummingbird
import NIOCore
import Testing

@testable import FilesystemsServer

@Suite("Memory of answers that are being sent")
struct AnswerMemoryTests {
    private let memory = AnswerMemory()
    private let mebibyte = 1 << 20

    @Test("Answers that were not read yet have 256 MiB together: more are refused until one of them is sent")
    func bounded() throws {
        var bodies: [PacedBody] = []
        for number in 0..<8 {
            let share = try self.memory.take(32 * self.mebibyte, for: "user \(number)")
            bodies.append(PacedBody(ByteBuffer(string: "x"), share))
        }
        #expect(throws: ServerError.self) { try self.memory.take(1, for: "other") }
        bodies.removeLast()
        #expect(throws: Never.self) { try self.memory.take(32 * self.mebibyte, for: "other") }
    }

    @Test("Answers that one user has not read yet have 64 MiB together, and leave the others theirs")
    func boundedForOne() throws {
        var shares = [try self.memory.take(60 * self.mebibyte, for: "user")]
        shares.append(try self.memory.take(1, for: "user"))
        #expect(throws: ServerError.self) { try self.memory.take(4 * self.mebibyte, for: "user") }
        #expect(throws: Never.self) { try self.memory.take(64 * self.mebibyte, for: "other") }
        shares.removeLast()
        #expect(throws: Never.self) { try self.memory.take(4 * self.mebibyte, for: "user") }
    }

    @Test("An answer that is larger than what a user may have is sent as the only one of that user")
    func larger() throws {
        let share = try self.memory.take(1000 * self.mebibyte, for: "user")
        #expect(throws: ServerError.self) { try self.memory.take(1, for: "user") }
        #expect(throws: Never.self) { try self.memory.take(1, for: "other") }
        withExtendedLifetime(share) {}
    }

    @Test("A piece that a client does not read keeps its own bytes in memory, and not the whole answer")
    func pieces() async throws {
        let text = String(repeating: "0123456789", count: self.mebibyte)
        let body = PacedBody(ByteBuffer(string: text), try self.memory.take(text.utf8.count, for: "user"))
        let piece = try await body.piece(1_000_005..<1_524_293)
        #expect(piece.storageCapacity <= self.mebibyte)
        #expect(piece.readableBytes == 524_288 && String(buffer: piece).hasPrefix("5678901234"))
    }
}
