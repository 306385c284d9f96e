import Glibc
import Primitives
import Synchronization
import SystemPackage
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Writes to a staged file that is taken away meanwhile", .timeLimit(.minutes(5)))
struct TakenAwayTests {
    private static let old = pattern(300_000)

    /// A filesystem with a file `f` of which one byte waits here.
    private static func mount() async throws -> (Mount, FileHandle) {
        let mount = try Mount(.strict, writes: .waiting)
        mount.remote.put("f", Self.old)
        let handle = try await mount.open("f", writes: true)
        try await mount.write(handle, [255])
        try await mount.fileSystem.fsync(handle)
        return (mount, handle)
    }

    private static func cut(
        _ mount: Mount,
        _ handle: FileHandle,
        to size: UInt64
    ) async throws(FileSystemError) {
        let inode = handle.content.inode
        try await mount.fileSystem.truncate(inode, to: size, through: handle, by: Mount.process)
    }

    @Test("A file is not gone for who needs more of it here, though another process has emptied it since")
    func emptied() async throws {
        let (mount, handle) = try await Self.mount()
        let staged = try #require(handle.content.staged)
        mount.fileSystem.release(try await mount.open("f", writes: true, truncates: true))
        #expect(handle.content.staged !== staged)
        try await mount.fileSystem.bringHere([0..<staged.size], staged, of: handle.content)
        mount.fileSystem.release(handle)
    }

    @Test("A change by name is made, though what waits of its file is put where a person finds it meanwhile")
    func givenUp() async throws {
        let (mount, handle) = try await Self.mount()
        let content = handle.content
        let one = ByteBuffer(count: 1)
        one.uninitialized.copyBytes(from: [7])
        try await mount.fileSystem.modify(content, through: nil) { staged throws(Errno) in
            mount.fileSystem.giveUp(content, staged, "a test")
            try staged.write(one.bytes, at: 1)
            return true
        }
        var expected = Self.old
        expected[1] = 7
        #expect(try await mount.read(handle) == expected)
        #expect(mount.recovered.count == 1)
        // Of what was put there.
        let met = await failure { () throws(FileSystemError) in try await mount.close(handle) }
        #expect(met == .stale)
        #expect(await mount.fileSystem.drain(tellsOfKept: false).isEmpty)
        #expect(mount.remote.bytes(of: "f") == expected)
    }

    @Test(
        "Nothing is written any more through a handle from before what its program wrote was put there",
        arguments: [true, false]
    )
    func handleFromBefore(inSameMoment: Bool) async throws {
        let (mount, handle) = try await Self.mount()
        let (content, staged) = (handle.content, try #require(handle.content.staged))
        let lost = FileSystemError.local(.ioError)
        if inSameMoment {
            await #expect(throws: lost) {
                try await mount.fileSystem.modify(content, through: handle) { staged throws(Errno) in
                    mount.fileSystem.giveUp(content, staged, "a test", error: lost)
                    _ = try staged.truncate(to: 0)
                    return true
                }
            }
        } else {
            mount.fileSystem.giveUp(content, staged, "a test", error: lost)
        }
        await #expect(throws: lost) { try await mount.write(handle, [7], at: 1) }
        await #expect(throws: lost) { try await Self.cut(mount, handle, to: 0) }
        await #expect(throws: lost) { try await Self.cut(mount, handle, to: UInt64(Self.old.count)) }
        await #expect(throws: lost) { try await mount.fileSystem.allocate(handle, 0..<10, by: Mount.process) }
        await #expect(throws: lost) { try await mount.close(handle) }
        let next = try await mount.open("f", writes: true)
        try await mount.write(next, [7], at: 1)
        try await mount.close(next)
        #expect(await mount.fileSystem.drain(tellsOfKept: false).isEmpty)
        var expected = Self.old
        expected[1] = 7
        #expect(mount.remote.bytes(of: "f") == expected)
        // Nor is what was put there cut.
        let records = try await mount.fileSystem.staging.journal.records()
        let record = try #require(records.first { $0.state == .kept })
        let kept = mount.recovered.map { mount.directory.bytes(of: "cache/f-1/recovered/" + $0) }
        #expect(kept.map { $0?.count } == [Self.old.count] && kept.map { $0?.first } == [255])
        #expect(record.content.size == UInt64(Self.old.count))
    }

    @Test(
        "A file that the local disk had no room for is written anew once it is emptied",
        arguments: [true, false]
    )
    func emptiedAfterFailure(wasPromised: Bool) async throws {
        let disk = FailingDisk(ENOSPC)
        let mount = try Mount(writes: .waiting, syncFile: disk.check)
        let handle = try await mount.create("f")
        try await mount.write(handle, pattern(100))
        if wasPromised { try await mount.fileSystem.fsync(handle) }
        try await mount.write(handle, pattern(200))
        disk.failures.store(.max, ordering: .relaxed)
        await #expect(throws: FileSystemError.local(.noSpace)) { try await mount.fileSystem.fsync(handle) }
        disk.failures.store(0, ordering: .relaxed)
        try await Self.cut(mount, handle, to: 0)
        try await mount.write(handle, pattern(50, from: 7))
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain(tellsOfKept: false).isEmpty)
        #expect(mount.remote.bytes(of: "f") == pattern(50, from: 7))
    }

    @Test("An upload of what the local disk had no room for fails nobody who has written the file anew since")
    func uploadOfSpoiled() async throws {
        let disk = FailingDisk()
        let mount = try Mount(writes: .waiting, checkFile: disk.check)
        let handle = try await mount.create("f")
        try await mount.write(handle, pattern(100))
        let hold = mount.remote.hold(.putPart)
        let upload = Task { await mount.fileSystem.uploadNow(handle.content, former: nil, isPatient: false) }
        await hold.reached()
        disk.failures.store(.max, ordering: .relaxed)
        #expect(handle.content.staged?.diskFailure() == .ioError)
        disk.failures.store(0, ordering: .relaxed)
        try await Self.cut(mount, handle, to: 0)
        try await mount.write(handle, pattern(50, from: 7))
        hold.release()
        try await upload.value?.get()
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty && mount.recovered.isEmpty)
        #expect(mount.remote.bytes(of: "f") == pattern(50, from: 7))
    }

    @Test(
        "What was closed before its file was emptied is the file again if what came after is given up",
        arguments: [true, false]
    )
    func formerOfLost(isOpenedLater: Bool) async throws {
        let disk = FailingDisk()
        let mount = try Mount(writes: .waiting, syncFile: disk.check)
        try await mount.put("f", Self.old)
        let reader = try await mount.open("f")
        disk.failures.store(.max, ordering: .relaxed)
        let lost = FileSystemError.local(.ioError)
        await #expect(throws: lost) { try await mount.put("f", pattern(100)) }
        // It is tried, and given up.
        _ = await mount.fileSystem.drain()
        #expect(await mount.comes { mount.recovered.count == 1 })
        #expect(try await mount.size("f") == Self.old.count)
        #expect(try await mount.read(reader) == Self.old)
        if isOpenedLater { _ = await mount.fileSystem.drain() }
        let inode = try await mount.inode("f")
        let mode = OpenMode(reads: true, writes: false)
        let (handle, keepsPages) = try await mount.fileSystem.open(inode, mode, by: Mount.process)
        #expect(!keepsPages)
        for handle in [reader, handle] { mount.fileSystem.release(handle) }
        #expect(await mount.fileSystem.drain(tellsOfKept: false).isEmpty && mount.recovered.count == 1)
        #expect(mount.remote.bytes(of: "f") == Self.old)
        #expect(try await mount.leftByCrash() == ["f": Self.old])
    }

    @Test(
        "Who wrote is told that it was given up, also if somebody else was told before",
        arguments: [true, false]
    )
    func toldToWriter(bySync: Bool) async throws {
        let (mount, handle) = try await Self.mount()
        let other = try await mount.open("f", writes: true, by: 7)
        try await mount.write(handle, [2], at: 1)
        mount.fileSystem.giveUp(handle.content, try #require(handle.content.staged), "a test")
        await #expect(throws: FileSystemError.stale) { try await mount.fileSystem.flush(other, by: 7) }
        let error = await failure { () throws(FileSystemError) in
            if bySync {
                try await mount.fileSystem.fsync(handle)
            } else {
                try await mount.fileSystem.flush(handle, by: Mount.process)
            }
        }
        #expect(error == .stale)
        // Who only opened it has lost nothing.
        try await mount.fileSystem.flush(other, by: 7)
        for handle in [handle, other] { mount.fileSystem.release(handle) }
    }

    @Test("A close whose own upload succeeds is not told of an earlier one that was refused")
    func refusedBefore() async throws {
        let mount = try Mount()
        mount.faulty.fail(.completeUpload, with: .forbidden, count: .max)
        let refused = FileSystemError.remote(.forbidden)
        await #expect(throws: refused) { try await mount.put("f", pattern(10)) }
        #expect(await mount.fileSystem.drain().count == 1)
        mount.faulty.heal()
        try await mount.put("f", pattern(20))
        #expect(mount.remote.bytes(of: "f") == pattern(20))
    }

    @Test("So it is, and goes up, if it had been written to since it was safe")
    func openFormerOfLost() async throws {
        let disk = FailingDisk()
        let mount = try Mount(writes: WriteOptions(mode: .writeBack), syncFile: disk.check)
        let hold = mount.remote.hold(.beginUpload)
        let handle = try await mount.create("f")
        try await mount.write(handle, Self.old)
        try await mount.fileSystem.fsync(handle)
        await hold.reached()
        try await mount.write(handle, [7], at: Self.old.count)
        let other = try await mount.open("f", writes: true, truncates: true, by: 7)
        try await mount.write(other, [1], by: 7)
        disk.failures.store(.max, ordering: .relaxed)
        let lost = FileSystemError.local(.ioError)
        await #expect(throws: lost) { try await mount.fileSystem.flush(other, by: 7) }
        mount.fileSystem.release(other)
        mount.fileSystem.release(handle)
        hold.release()
        #expect(await mount.comes { mount.remote.bytes(of: "f") == Self.old + [7] })
        #expect(mount.recovered.count == 1)
    }

    @Test("Who has synced what was written is not told that others' bytes were given up")
    func syncedBefore() async throws {
        let (mount, handle) = try await Self.mount()
        let other = try await mount.open("f", writes: true, truncates: true, by: 7)
        try await mount.write(other, [2], by: 7)
        mount.fileSystem.giveUp(handle.content, try #require(handle.content.staged), "a test")
        await #expect(throws: FileSystemError.stale) { try await mount.fileSystem.flush(other, by: 7) }
        try await mount.close(handle)
        mount.fileSystem.release(other)
        #expect(try await mount.get("f") == [255] + Self.old.dropFirst())
    }
}
