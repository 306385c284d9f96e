import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What a size tells of an upload whose last answer was lost, and what not", .timeLimit(.minutes(5)))
struct LostCompletionTests {
    @Test("A file renamed after a lost answer is not taken for somebody else's of its size by the next mount")
    func renamedOverAndKilled() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(100, from: 7))
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.expire()
        _ = try await mount.list()
        mount.faulty.fail(.size, with: .timedOut, count: .max)
        try await mount.rename("a", "b")
        #expect(try await mount.leftByCrash() == ["b": pattern(100)])
    }
}
