import TestKit
import Testing

@testable import VFS

@Suite("The old name of a renamed file, where others write meanwhile", .timeLimit(.minutes(5)))
struct OldNameTests {
    @Test(
        "What others wrote to the old name while a file was copied for long stays there, seen before or not",
        arguments: [false, true]
    )
    func writtenByOthers(isSeen: Bool) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        mount.remote.put("a", pattern(33))
        mount.expire()
        if isSeen { #expect(try await mount.size("a") == 33) }
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == ["a", "b"])
        #expect(try await mount.list().sorted() == ["a", "b"])
        #expect(try await mount.get("a") == pattern(33))
        #expect(try await mount.get("b") == pattern(100))
        #expect(mount.log.text.contains { $0.contains("is left there") && $0.contains("path=a") })
    }

    @Test("What others wrote to the name of a file with unsent bytes here stays there when that is renamed")
    func writtenByOthersWhileOpen() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, pattern(100, from: 7))
        mount.remote.put("a", pattern(33))
        try await mount.rename("a", "b")
        try await mount.close(handle)
        #expect(mount.remote.tree == ["a", "b"])
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(mount.remote.bytes(of: "b") == pattern(100, from: 7))
    }

    @Test("A file whose old name others deleted while it was copied for long is renamed")
    func deletedByOthers() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        mount.remote.remove("a")
        mount.expire()
        hold.release()
        try await renaming.value
        #expect(try await mount.list() == ["b"])
    }
}
