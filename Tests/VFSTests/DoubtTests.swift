import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What an upload replaces is known after one that failed, a crash or a rename", .timeLimit(.minutes(5)))
struct DoubtTests {
    @Test("A file that was renamed over one of unknown size replaces that after a crash, too")
    func overUnknown() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(50))
        mount.faulty.fail(.size, with: .timedOut, count: .max)
        try await mount.put("a", pattern(100))
        try await mount.rename("a", "b")
        #expect(try await mount.leftByCrash() == ["b": pattern(100)])
    }

    @Test("A file of unknown size that an upload may have replaced is replaced after a crash")
    func overUnknownUnverified() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(100, from: 7))
        mount.faulty.fail(.size, with: .timedOut, count: .max)
        try await mount.put("a", pattern(100))
        try await mount.rename("a", "b")
        mount.faulty.heal()
        mount.faulty.fail(.completeUpload, with: .timedOut)
        #expect(await mount.fileSystem.drain().count == 1)
        #expect(try await mount.leftByCrash() == ["b": pattern(100)])
    }

    @Test("A file whose deletion failed after its upload had is no conflict after a crash")
    func unlinkedInDoubt() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.faulty.fail(.delete, with: .timedOut, count: .max)
        let met = await failure { () throws(FileSystemError) in try await mount.unlink("a") }
        #expect(met == .remote(.timedOut))
        #expect(try await mount.leftByCrash() == ["a": pattern(100)])
    }

    @Test("A file renamed after a lost answer does not replace somebody else's of its size after a crash")
    func renamedInDoubt() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(50))
        _ = try await mount.size("b")
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.expire()
        _ = try await mount.list()
        try await mount.rename("a", "b")
        mount.remote.put("b", pattern(100, from: 9))
        #expect(try await mount.leftByCrash()["b"] == pattern(100, from: 9))
    }

    @Test("What an upload was found to have replaced is known also of what is written after it")
    func emptiedInDoubt() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        mount.remote.put("a", pattern(5))
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        let handle = try await mount.create("a")
        let content = handle.content
        try await mount.write(handle, pattern(10))
        try await mount.fileSystem.fsync(handle)
        #expect(await mount.comes { content.state.withLock { $0.sizeInDoubt } == 10 })
        // Else a retry finds it out before the file is emptied.
        for kind in [CallKind.size, .beginUpload] {
            mount.faulty.fail(kind, with: .timedOut, count: .max)
        }
        try await mount.write(handle, pattern(20))
        try await mount.fileSystem.fsync(handle)
        try await mount.fileSystem.truncate(content.inode, to: 0, through: handle)
        mount.faulty.heal()
        mount.faulty.fail(.completeUpload, with: .timedOut)
        #expect(await mount.comes { content.state.withLock { $0.sizeInDoubt } == 20 })
        try await mount.write(handle, pattern(30, from: 7))
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a"] && mount.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test("A rename that fails leaves what it was to replace as it was, also where that had been in doubt")
    func renamedOverInDoubt() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(10))
        mount.remote.put("t", pattern(50))
        try await mount.put("b", pattern(100))
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.faulty.fail(.completeUpload, with: .timedOut)
        let met = await failure { () throws(FileSystemError) in try await mount.rename("t", "b") }
        #expect(met != nil)
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["b", "t"] && mount.remote.bytes(of: "b") == pattern(100))
    }
}
