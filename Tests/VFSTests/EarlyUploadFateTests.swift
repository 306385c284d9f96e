import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import Staging
@testable import VFS

@Suite("Files that go up while they are written, and a crash or a conflict", .timeLimit(.minutes(5)))
struct EarlyUploadFateTests {
    /// What any upload of 24 KiB in parts of 8 asks for.
    private let requests: Set = [
        "begin a 24576", "put a 0-8192", "put a 8192-16384", "put a 16384-24576", "complete a",
    ]

    /// A mount of a service that lists uploads; parts are sent one after another.
    private func mount(
        _ mode: WriteOptions.Mode = .writeBack,
        _ onConflict: WriteOptions.OnConflict = .keepBoth
    ) throws -> Mount {
        try Mount(
            .deployed,
            lanes: UploadLanes(maximumCount: 1, partSize: UInt64(8 * kibibyte)),
            writes: WriteOptions(mode: mode, onConflict: onConflict)
        )
    }

    private func copies(_ mount: Mount) -> [String] {
        mount.remote.tree.filter { $0.hasPrefix("a.conflict-") }
    }

    @Test("A file that is uploaded after its close has gone up before as far as it could")
    func uploadedLater() async throws {
        let mount = try self.mount()
        let handle = try await mount.streaming()
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == blocks(24))
        #expect(mount.changes.count == 5 && Set(mount.changes) == self.requests)
    }

    // MARK: Crashes

    @Test("What goes up as the driver dies is kept here, leaves the old file, and is deleted on the service")
    func killedWhileWritten() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.streaming()
        let next = try await mount.killed()
        await next.remote.ended(.delete)
        #expect(next.remote.uploadCount == 0)
        #expect(next.remote.bytes(of: "a") == pattern(10))
        #expect(try await next.list() == ["a"])
        #expect(next.recovered.count == 1)
        mount.fileSystem.release(handle)
    }

    @Test("What an fsync has promised comes back, though the file went up before and was written on after it")
    func killedAfterSync() async throws {
        let mount = try self.mount()
        let handle = try await mount.streaming()
        let hold = mount.remote.hold(.completeUpload)
        try await mount.fileSystem.fsync(handle)
        await hold.reached()
        try await mount.write(handle, blocks: 17..<20)
        let left = try await mount.leftByCrash()
        #expect(left.keys.sorted() == ["a"])
        let bytes = try #require(left["a"])
        #expect(bytes.count >= 17 * kibibyte && blocks(20).starts(with: bytes))
        hold.release()
        mount.fileSystem.release(handle)
    }

    @Test("After a crash, or a power failure, what is missing of a closed file is sent, and nothing twice")
    func killedAfterClose() async throws {
        let mount = try self.mount()
        let handle = try await mount.streaming()
        let hold = mount.remote.hold(.putPart)
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        await hold.reached()
        await mount.fileSystem.staging.journal.written()
        for boot in [Journal.currentBoot(), "next"] {
            let next = try Mount(
                writes: mount.fileSystem.options,
                over: mount.remote.copy(),
                in: mount.directory.copy(),
                boot: boot
            )
            try await next.fileSystem.recover()
            #expect(await next.fileSystem.drain().isEmpty)
            #expect(next.remote.bytes(of: "a") == blocks(24))
            #expect(next.changes == ["put a 16384-24576", "complete a"])
            #expect(try await next.list() == ["a"])
        }
        hold.release()
    }

    @Test("A file whose parts were on their way at its close, when the driver dies, comes back whole")
    func killedWithPartsOnTheirWay() async throws {
        let mount = try self.mount()
        mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let hold = mount.remote.hold(.putPart)
        let handle = try await mount.create("a")
        try await mount.write(handle, blocks: 0..<24)
        await hold.reached()
        try await mount.close(handle)
        #expect(try await mount.leftByCrash() == ["a": blocks(24)])
        hold.release()
    }

    // MARK: Conflicts

    @Test("A file that others replaced while ours went up stays theirs, and ours is uploaded beside it")
    func replaced() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.streaming()
        mount.remote.put("a", pattern(33))
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount).first)
        #expect(mount.remote.tree == ["a", copy])
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(mount.remote.bytes(of: copy) == blocks(24))
        mount.expire()
        #expect(try await mount.list() == ["a", copy])
    }

    @Test("So does one that others made meanwhile")
    func made() async throws {
        let mount = try self.mount()
        let handle = try await mount.streaming()
        mount.remote.put("a", pattern(24 * kibibyte))
        mount.expire()
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount).first)
        #expect(mount.remote.bytes(of: "a") == pattern(24 * kibibyte))
        #expect(mount.remote.bytes(of: copy) == blocks(24))
    }

    @Test("A file that others deleted while ours went up does not come back under its name")
    func deleted() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.streaming()
        mount.remote.remove("a")
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount).first)
        #expect(mount.remote.tree == [copy] && mount.remote.bytes(of: copy) == blocks(24))
    }

    @Test(
        "Where the last writer wins, what others put there meanwhile is replaced by what went up",
        arguments: [WriteOptions.Mode.sync, .writeBack]
    )
    func lastWriterWins(mode: WriteOptions.Mode) async throws {
        let mount = try self.mount(mode, .lastWriterWins)
        mount.remote.put("a", pattern(10))
        let handle = try await mount.streaming()
        mount.remote.put("a", pattern(33))
        try await mount.write(handle, blocks: 17..<24)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == blocks(24))
        #expect(mount.changes.count == 5 && Set(mount.changes) == self.requests)
    }

    @Test(
        "What is written over in the middle and went up is not mixed with another version of the rest",
        arguments: [WriteOptions.Mode.sync, .writeBack]
    )
    func mixed(mode: WriteOptions.Mode) async throws {
        let mount = try self.mount(mode)
        mount.remote.put("a", blocks(40, 100))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, blocks: 14..<33)
        await mount.remote.ended(.putPart, 2)
        mount.remote.put("a", blocks(39, 50))
        let error = await failure { () throws(FileSystemError) in
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        let unsent = await mount.fileSystem.drain()
        #expect(mode == .sync ? error == .changedOnServer : error == nil && unsent.count == 1)
        mount.fileSystem.release(handle)
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == blocks(39, 50))
        #expect(mount.recovered.count == 1)
        mount.expire()
        #expect(try await mount.list() == ["a"])
    }
}
