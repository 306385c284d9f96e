import Glibc
import Primitives
import Synchronization
import TestKit
import Testing

@testable import VFS

@Suite("What was closed and what no close covers get to the service all the same", .timeLimit(.minutes(5)))
struct LeftUnsentTests {
    @Test(
        "What was written through a mapping is uploaded though the file's last handle goes during its rename"
    )
    func releasedDuringRename() async throws {
        let mount = try Mount(.strict, writes: WriteOptions(mode: .writeBack))
        mount.remote.put("b", pattern(7))
        #expect(try await mount.size("b") == 7)
        mount.expire()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        let sizes = mount.remote.hold(.size)
        let renaming = Task { try await mount.rename("a", "b") }
        await sizes.reached()
        mount.fileSystem.release(handle)
        sizes.release()
        try await renaming.value
        try await mount.reached { mount.remote.bytes(of: "b") == pattern(100) }
    }

    @Test(
        "In sync mode, what is written through a mapping while the last such pages are uploaded is uploaded too"
    )
    func releasedDuringUpload() async throws {
        let mount = try Mount()
        let first = try await mount.create("a")
        try await mount.write(first, pattern(100))
        let complete = mount.remote.hold(.completeUpload, .beforeAnswering)
        mount.fileSystem.release(first)
        await complete.reached()
        let second = try await mount.open("a", writes: true)
        try await mount.write(second, pattern(200))
        mount.fileSystem.release(second)
        complete.release()
        try await mount.reached { mount.remote.bytes(of: "a") == pattern(200) }
    }

    @Test(
        "A file that is closed again and again is uploaded, though another process writes to it during each close"
    )
    func outrunCloses() async throws {
        let hook = Hook()
        let mount = try Mount(
            .strict,
            writes: WriteOptions(mode: .writeBack),
            syncFile: { descriptor in
                hook.run()
                return fdatasync(descriptor)
            }
        )
        let other = try await mount.create("a")
        let one = ByteBuffer(count: 1)
        one.uninitialized.copyBytes(from: [1])
        hook.set { _ = try? mount.fileSystem.writeNow(other, one.bytes, at: 0, by: 7) }
        for _ in 0..<10 {
            let handle = try await mount.open("a", writes: true)
            try await mount.write(handle, [2], at: 1)
            try await mount.close(handle)
            while mount.fileSystem.queue.runningCount > 0 { await Task.yield() }
        }
        #expect(mount.remote.bytes(of: "a") == [1, 2])
        hook.set(nil)
        mount.fileSystem.release(other)
        await mount.waitUntilUploaded()
    }

    private static func options(longestWait: Duration = .seconds(3600)) -> WriteOptions {
        var options = WriteOptions(mode: .writeBack, temporaryDelay: .seconds(3600))
        options.longestWait = longestWait
        return options
    }

    /// Replaces "a" by three files, of 2 to 4 bytes, each as the upload of the one before is held.
    private func replaceThrice(_ mount: Mount, _ hold: Hold) async throws {
        try await mount.put("a", pattern(1))
        for size in 2...4 {
            await hold.reached(size - 1)
            try await self.replace(mount, size)
        }
        await hold.reached(4)
    }

    private func replace(_ mount: Mount, _ size: Int) async throws {
        try await mount.put("a.tmp", pattern(size))
        try await mount.rename("a.tmp", "a")
    }

    @Test("A file replaced faster than it can be sent is uploaded now and then", arguments: [false, true])
    func replacedOften(isTooSlow: Bool) async throws {
        let mount = try Mount(.strict, writes: Self.options(longestWait: isTooSlow ? .zero : .seconds(3600)))
        let hold = mount.remote.hold(.putPart)
        try await self.replaceThrice(mount, hold)
        let renaming = Task { try await self.replace(mount, 5) }
        if isTooSlow {
            try await renaming.value
        } else {
            #expect(await mount.comes { mount.fileSystem.queue.watcherCount == 1 })
        }
        hold.release()
        try await renaming.value
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(5))
        #expect(mount.remote.count(.completeUpload) == (isTooSlow ? 1 : 2))
    }

    @Test("One whose upload is refused holds up no more than the fourth of those that replace it")
    func refusedOften() async throws {
        let mount = try Mount(.strict, writes: Self.options())
        let hold = mount.remote.hold(.putPart)
        try await self.replaceThrice(mount, hold)
        mount.faulty.fail(.completeUpload, with: .forbidden)
        let next = mount.remote.hold(.beginUpload)
        let waiting = Task { try await self.replace(mount, 5) }
        #expect(await mount.comes { mount.fileSystem.queue.watcherCount == 1 })
        hold.release()
        try await waiting.value
        await next.reached()
        let isOver = Mutex(false)
        let renaming = Task {
            try await self.replace(mount, 6)
            isOver.withLock { $0 = true }
        }
        #expect(await mount.comes { isOver.withLock { $0 } })
        next.release()
        try await renaming.value
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(6))
    }
}
