import RemoteAPI
import Synchronization
import TestKit
import Testing

@testable import VFS

@Suite("Write-back: more files wait than there is room for", .timeLimit(.minutes(5)))
struct WaitingForRoomTests {
    @Test("Where more files wait than memory is meant for, close waits for uploads, and succeeds")
    func tooMany() async throws {
        var options = WriteOptions(mode: .writeBack)
        options.waitingLimit = 10
        options.longestWait = .seconds(200)
        let mount = try Mount(writes: options)
        let hold = mount.remote.hold(.beginUpload)
        for number in 0..<10 { try await mount.put("f-\(number)", pattern(10)) }
        #expect(mount.fileSystem.queue.pausedCount == 0)
        let isClosed = Mutex(false)
        let eleventh = Task {
            try await mount.put("f-10", pattern(10))
            isClosed.withLock { $0 = true }
        }
        while mount.fileSystem.queue.pausedCount == 0, !isClosed.withLock({ $0 }) { await Task.yield() }
        let wasClosed = isClosed.withLock { $0 }
        #expect(!wasClosed)
        // It is safe here by now.
        #expect(mount.staged.count { $0.hasPrefix("dirty-") } == 11)
        hold.release()
        try await eleventh.value
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree.count == 11)
    }

    @Test("Who syncs a file that waits already waits for none of the others, however many they are")
    func tooManyOthers() async throws {
        var options = WriteOptions(mode: .writeBack)
        options.waitingLimit = 2
        options.longestWait = .seconds(20)
        let mount = try Mount(writes: options)
        let hold = mount.remote.hold(.beginUpload)
        let handle = try await mount.create("a")
        for number in 0..<2 { try await mount.put("f-\(number)", pattern(10)) }
        try await mount.write(handle, pattern(10))
        let first = Task { try await mount.fileSystem.fsync(handle) }
        while mount.fileSystem.queue.pausedCount == 0 { await Task.yield() }
        // An upload that begins after the next write leaves the file to that one's sync.
        await hold.reached(3)
        try await mount.write(handle, pattern(10), at: 10)
        try await mount.fileSystem.fsync(handle)
        #expect(mount.fileSystem.queue.pausedCount == 1)
        hold.release()
        try await first.value
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a", "f-0", "f-1"])
    }

    /// Closes a file among too many that wait for nothing but their names, and says whether that goes on by what
    /// another program does meanwhile.
    private func goesOn(
        _ mount: Mount,
        _ name: String,
        after body: () async throws -> Void
    ) async throws -> Bool {
        let queue = mount.fileSystem.queue
        let closing = Task { try await mount.put(name, pattern(10)) }
        #expect(await mount.comes { queue.pausedCount == 1 })
        try await body()
        let isOver = await mount.comes { queue.pausedCount == 0 }
        closing.cancel()
        try await closing.value
        return isOver
    }

    @Test("A close among too many files goes on once enough of the others are deleted or replaced")
    func tooManyThatGo() async throws {
        var options = WriteOptions(mode: .writeBack, temporaryDelay: .seconds(3600))
        options.waitingLimit = 3
        options.longestWait = .seconds(200)
        let mount = try Mount(writes: options)
        for name in ["a.tmp", "b.tmp", "c.tmp"] { try await mount.put(name, pattern(10)) }
        #expect(try await self.goesOn(mount, "d.tmp") { try await mount.unlink("a.tmp") })
        #expect(try await self.goesOn(mount, "e.tmp") { try await mount.rename("b.tmp", "c.tmp") })
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["c.tmp", "d.tmp", "e.tmp"])
    }

    @Test("A temporary name that a rename has uploaded is none of those that a close waits for")
    func renamedAmongTooMany() async throws {
        var options = WriteOptions(temporaryDelay: .seconds(3600))
        options.waitingLimit = 1
        options.longestWait = .seconds(200)
        let mount = try Mount(writes: options)
        try await mount.put("a.tmp", pattern(10))
        #expect(try await self.goesOn(mount, "b.tmp") { try await mount.rename("a.tmp", "a") })
        #expect(mount.remote.tree == ["a"])
    }

    @Test("A service that does not answer keeps a close among too many files a while, not for ever")
    func tooManyForLong() async throws {
        var options = WriteOptions(mode: .writeBack)
        options.waitingLimit = 1
        options.longestWait = .milliseconds(20)
        let mount = try Mount(writes: options)
        let hold = mount.remote.hold(.beginUpload)
        for number in 0..<5 { try await mount.put("f-\(number)", pattern(10)) }
        #expect(mount.remote.tree.isEmpty)
        hold.release()
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree.count == 5)
    }
}
