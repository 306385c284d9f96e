import Hummingbird
import Testing

@testable import FilesystemsServer

@Suite("Memory of answers that are being sent")
struct AnswerMemoryTests {
    private let memory = AnswerMemory()
    private let mebibyte = 1 << 20

    @Test("Answers that were not read yet have 256 MiB together: more are refused until one of them is sent")
    func bounded() throws {
        var bodies: [PacedBody] = []
        for _ in 0..<8 {
            bodies.append(PacedBody(ByteBuffer(string: "x"), try self.memory.take(32 * self.mebibyte)))
        }
        #expect(throws: ServerError.self) { try self.memory.take(1) }
        bodies.removeLast()
        #expect(throws: Never.self) { try self.memory.take(32 * self.mebibyte) }
    }

    @Test("An answer that is larger than all of it is sent alone")
    func larger() throws {
        let share = try self.memory.take(1000 * self.mebibyte)
        #expect(throws: ServerError.self) { try self.memory.take(1) }
        withExtendedLifetime(share) {}
    }
}
