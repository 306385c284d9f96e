import RemoteAPI
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Renames and deletions that a crash cuts off", .timeLimit(.minutes(5)))
struct CutOffNameTests {
    @Test("A rename that is cut off brings no older version back under the old name")
    func renamed() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        #expect(try await mount.leftByCrash() == ["b": pattern(100)])
        hold.release()
        try await renaming.value
    }

    @Test("A rename over a file that waits for its upload is done or not after a crash, and is no conflict")
    func renamedOver() async throws {
        for kind in [CallKind.completeUpload, .delete] {
            let mount = try Mount(writes: .waiting)
            mount.remote.put("a", pattern(10))
            mount.remote.put("b", pattern(20))
            try await mount.put("b", pattern(200))
            let hold = mount.remote.hold(kind, .beforeAnswering)
            let renaming = Task { try await mount.rename("a", "b") }
            await hold.reached()
            let left = try await mount.leftByCrash()
            if kind == .delete {
                #expect(left == ["b": pattern(10)])
            } else {
                #expect(left == ["a": pattern(10), "b": pattern(200)])
            }
            hold.release()
            try await renaming.value
        }
    }

    @Test("A rename over a file of which some bytes are on the service alone makes no mix of the two")
    func renamedOverPartly() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(1000, from: 3))
        mount.remote.put("b", pattern(1000))
        let handle = try await mount.open("b", writes: true)
        try await mount.write(handle, [7])
        try await mount.close(handle)
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        #expect(try await mount.leftByCrash() == ["b": pattern(1000, from: 3)])
        hold.release()
        try await renaming.value
        let calls = mount.remote.calls.filter { $0.hasPrefix("complete") }
        #expect(calls.count == 2)
    }

    @Test("A deletion that is cut off is done or not after a crash, and is no conflict")
    func deleted() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        let hold = mount.remote.hold(.delete, .beforeAnswering)
        let deleting = Task { try await mount.unlink("a") }
        await hold.reached()
        #expect(try await mount.leftByCrash() == ["a": pattern(100)])
        hold.release()
        try await deleting.value
        #expect(try await mount.leftByCrash().isEmpty)
    }

    @Test("A file that is renamed while it is open and changed comes back under its new name")
    func renamedOpen() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [1])
        try await mount.rename("a", "b")
        try await mount.write(handle, [2], at: 10)
        try await mount.fileSystem.fsync(handle)
        #expect(try await mount.leftByCrash() == ["b": [1] + pattern(10)[1...] + [2]])
    }

    @Test("An acknowledged rename over an older file that waits is not undone by a crash")
    func renamedLocally() async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("new", pattern(10))
        try await mount.put("old", pattern(20))
        try await mount.rename("new", "old")
        #expect(try await mount.leftByCrash() == ["old": pattern(10)])
    }

    @Test("A file that is renamed before its close over one that waits leaves one of them after a crash")
    func renamedUnclosed() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(20))
        try await mount.put("b", pattern(200))
        let handle = try await mount.create("t")
        try await mount.write(handle, pattern(30, from: 7))
        try await mount.rename("t", "b")
        #expect(try await mount.leftByCrash() == ["b": pattern(30, from: 7)])
        try await mount.write(handle, [1], at: 30)
        try await mount.close(handle)
        #expect(try await mount.leftByCrash() == ["b": pattern(30, from: 7) + [1]])
    }

    @Test("A partly staged file is uploaded before another one replaces it, also while it is written")
    func writtenWhileReplaced() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(1000, from: 3))
        mount.remote.put("b", pattern(1000))
        let handle = try await mount.open("b", writes: true)
        try await mount.write(handle, [7])
        try await mount.fileSystem.fsync(handle)
        let hold = mount.remote.hold(.beginUpload)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        try await mount.write(handle, [8])
        hold.release()
        try await renaming.value
        #expect(mount.remote.calls.filter { $0.hasPrefix("complete") }.count == 2)
        mount.fileSystem.release(handle)
    }

    @Test("A rename over a file that waits is durable before that file's bytes go")
    func durableOver() async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("new", pattern(10))
        try await mount.put("old", pattern(20))
        let journal = mount.fileSystem.staging.journal
        let before = journal.syncedCommitCount
        try await mount.rename("new", "old")
        // Once more where what was written a moment ago was noted late.
        #expect(journal.syncedCommitCount > before)
    }

    @Test("A partly changed file whose upload is refused is not replaced, and neither of the two is lost")
    func refusedWhileReplaced() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(500, from: 3))
        mount.remote.put("b", pattern(1000))
        let handle = try await mount.open("b", writes: true)
        try await mount.write(handle, [7])
        try await mount.close(handle)
        mount.faulty.fail(.beginUpload, with: .forbidden)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.forbidden)
        )
        #expect(mount.remote.bytes(of: "a") == pattern(500, from: 3))
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "b") == [7] + pattern(1000)[1...])
    }

    @Test("A new name that the service does not know is durable when fsync of its directory returns")
    func durableByDirectory() async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("old", pattern(10))
        try await mount.rename("old", "new")
        let journal = mount.fileSystem.staging.journal
        let before = journal.syncedCommitCount
        try await mount.fileSystem.fsyncdir()
        #expect(journal.syncedCommitCount == before + 1)
    }
}
