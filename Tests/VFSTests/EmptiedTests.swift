import Dispatch
import Glibc
import RemoteAPI
import Staging
import Synchronization
import SystemPackage
import TestKit
import Testing

@testable import VFS

@Suite("What was promised of a file that is emptied or changed before its upload", .timeLimit(.minutes(5)))
struct EmptiedTests {
    enum Emptying: CaseIterable { case open, descriptor, path }

    @Test(
        "A closed file that is emptied and half written before its upload is there as it was closed after a crash",
        arguments: Emptying.allCases
    )
    func emptied(how: Emptying) async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true, truncates: how == .open)
        if how != .open {
            let through = how == .descriptor ? handle : nil
            try await mount.fileSystem.truncate(handle.content.inode, to: 0, through: through)
        }
        if how != .path { #expect(try await mount.leftByCrash() == ["a": pattern(100)]) }
        try await mount.write(handle, pattern(30, from: 7))
        #expect(try await mount.read(handle) == pattern(30, from: 7))
        // truncate(2) promises the empty file itself, which may then be there as it was written to.
        let expected = how == .path ? pattern(30, from: 7) : pattern(100)
        #expect(try await mount.leftByCrash() == ["a": expected])
        try await mount.close(handle)
        #expect(try await mount.leftByCrash() == ["a": pattern(30, from: 7)])
        #expect(mount.staged.count { $0.hasPrefix("dirty-") } == 1)
    }

    @Test("A file of which only some bytes are here, closed and then emptied, is no mix of two after a crash")
    func emptiedPartly() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(1000))
        let first = try await mount.open("a", writes: true)
        try await mount.write(first, pattern(10, from: 5), at: 100)
        try await mount.close(first)
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(300, from: 7))
        var expected = pattern(1000)
        expected.replaceSubrange(100..<110, with: pattern(10, from: 5))
        #expect(try await mount.leftByCrash() == ["a": expected])
    }

    @Test("What a write adds to a partly staged file that was closed is in the journal when it returns")
    func writtenPartly() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("a", pattern(1000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [1], at: 100)
        try await mount.fileSystem.fsync(handle)
        var expected = pattern(1000)
        for (offset, byte) in [(100, UInt8(1)), (300, 2), (100, 3)] {
            try await mount.write(handle, [byte], at: offset)
            expected[offset] = byte
            #expect(try await mount.leftByCrash() == ["a": expected])
        }
        try await mount.fileSystem.truncate(handle.content.inode, to: 500, through: handle)
        try await mount.write(handle, [4], at: 600)
        expected = expected[..<500] + [UInt8](repeating: 0, count: 100) + [4]
        #expect(try await mount.leftByCrash() == ["a": expected])
    }

    @Test("A closed file that is emptied goes up as it was closed while nothing newer is closed")
    func goesUp() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        let hold = mount.remote.hold(.beginUpload)
        try await mount.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(30, from: 7))
        hold.release()
        while mount.remote.bytes(of: "a") != pattern(100) { await Task.yield() }
        #expect(try await mount.size("a") == 30)
        #expect(try await mount.read(handle) == pattern(30, from: 7))
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(30, from: 7))
        #expect(mount.staged.allSatisfy { !$0.hasPrefix("dirty-") } && mount.recovered.isEmpty)
    }

    @Test("What was closed before is dropped once something newer is closed, and no conflict comes of it")
    func superseded() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        mount.remote.put("a", pattern(5))
        let hold = mount.remote.hold(.completeUpload)
        for round in 1...4 {
            try await mount.put("a", pattern(10 * round, from: round))
            #expect(try await mount.get("a") == pattern(10 * round, from: round))
        }
        hold.release()
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(40, from: 4))
        #expect(mount.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test("A file that is deleted or replaced after it was emptied leaves nothing of its earlier contents")
    func gone() async throws {
        let mount = try Mount(writes: .waiting)
        for name in ["deleted", "replaced"] {
            try await mount.put(name, pattern(100))
            let handle = try await mount.open(name, writes: true, truncates: true)
            try await mount.write(handle, [1])
            mount.fileSystem.release(handle)
        }
        try await mount.put("new", [2])
        try await mount.unlink("deleted")
        try await mount.rename("new", "replaced")
        #expect(try await mount.leftByCrash() == ["replaced": [2]])
        #expect(mount.recovered.isEmpty)
    }

    @Test("A closed file that is emptied and renamed over another one is no conflict, and becomes that file")
    func renamedOver() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        mount.remote.put("b", pattern(100))
        let hold = mount.remote.hold(.beginUpload)
        try await mount.put("t", pattern(50, from: 3))
        let handle = try await mount.open("t", writes: true, truncates: true)
        try await mount.write(handle, pattern(30, from: 7))
        try await mount.rename("t", "b")
        hold.release()
        while mount.remote.bytes(of: "b") != pattern(50, from: 3) {
            try #require(mount.fileSystem.uploadStatus.conflictCount == 0)
            await Task.yield()
        }
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.fileSystem.uploadStatus.conflictCount == 0)
        #expect(mount.remote.tree == ["b"] && mount.remote.bytes(of: "b") == pattern(30, from: 7))
    }

    @Test("A deleted file whose bytes were promised while it was deleted can be emptied")
    func deleted() async throws {
        let mount = try Mount(writes: .waiting)
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.unlink("a")
        try await mount.write(handle, pattern(100))
        // As by a close that had begun before.
        try await handle.content.staged?.makeDurable()
        try await mount.fileSystem.truncate(handle.content.inode, to: 0, through: handle)
        #expect(try await mount.read(handle).isEmpty)
        mount.fileSystem.release(handle)
    }

    @Test("A synced file that is written on and then emptied goes up as it was before it was emptied")
    func syncedAndWritten() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        let hold = mount.remote.hold(.beginUpload)
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        await hold.reached()
        try await mount.write(handle, [1], at: 100)
        hold.release()
        while mount.fileSystem.queue.runningCount > 0 { await Task.yield() }
        try await mount.fileSystem.truncate(handle.content.inode, to: 0, through: handle)
        while mount.remote.bytes(of: "a") != pattern(100) + [1] { await Task.yield() }
        try await mount.close(handle)
    }

    @Test(
        "What is written while an upload ends, and emptied before it has, is neither lost if it was synced nor comes back",
        arguments: [false, true]
    )
    func writtenAndEmptiedAtTheEnd(isSynced: Bool) async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        let hold = mount.remote.hold(.completeUpload)
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        await hold.reached()
        try await mount.write(handle, pattern(150, from: 3))
        if isSynced { try await mount.fileSystem.fsync(handle) }
        try await mount.fileSystem.truncate(handle.content.inode, to: 0, through: handle)
        hold.release()
        let promised = isSynced ? pattern(150, from: 3) : pattern(100)
        #expect(await mount.comes { mount.remote.bytes(of: "a") == promised })
        #expect(await mount.comes { mount.staged.count { $0.hasPrefix("dirty-") } == 1 })
        try await mount.write(handle, pattern(30, from: 7))
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(30, from: 7))
        #expect(mount.staged.allSatisfy { !$0.hasPrefix("dirty-") } && mount.recovered.isEmpty)
        #expect(try await mount.fileSystem.staging.journal.records() == [])
    }

    @Test("What is promised in the moment before its file is emptied is there after a crash")
    func promisedBefore() async throws {
        let mount = try Mount(writes: .waiting)
        let handle = try await mount.create("a")
        let content = handle.content
        try await mount.write(handle, pattern(100))
        let isFirst = Atomic(true)
        try await mount.fileSystem.modify(content, through: nil, emptied: true, cuttingTo: 0) {
            staged throws(Errno) in
            if isFirst.exchange(false, ordering: .relaxed) {
                let isDone = DispatchSemaphore(value: 0)
                Task.detached {
                    try? await mount.fileSystem.makeDurable(staged, of: content)
                    isDone.signal()
                }
                isDone.wait()
            }
            return try staged.truncate(to: 0, keepingPromise: true)
        }
        #expect(try await mount.leftByCrash() == ["a": pattern(100)])
        mount.fileSystem.release(handle)
    }

    @Test(
        "What was closed survives a close that fails for want of room, and who empties the file after that",
        .enabled(if: geteuid() == 0, "mounting a small disk takes root")
    )
    func fullDisk() async throws {
        let disk = try #require(SmallDisk())
        defer { disk.unmount() }
        let mount = try Mount(writes: .waiting, in: disk.directory)
        try await mount.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(30, from: 7))
        disk.fill(for: mount)
        await #expect(throws: FileSystemError.local(.noSpace)) {
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        try await mount.fileSystem.truncate(handle.content.inode, to: 0, through: handle)
        #expect(try await mount.leftByCrash() == ["a": pattern(100)])
        disk.clear()
        try await mount.close(handle)
        #expect(try await mount.leftByCrash() == ["a": []])
    }

    @Test("A refused upload of what is emptied meanwhile is noted of that, and not of what came after it")
    func refused() async throws {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        mount.faulty.loseAnswer(.beginUpload, with: .rejected(status: 400, message: "no"), count: .max)
        let hold = mount.remote.hold(.beginUpload)
        try await mount.put("a", pattern(100))
        await hold.reached()
        let handle = try await mount.open("a", writes: true, truncates: true)
        hold.release()
        while mount.fileSystem.queue.runningCount > 0 { await Task.yield() }
        let records = try await mount.fileSystem.staging.journal.records().sorted { $0.number < $1.number }
        #expect(records.map(\.state) == [.failed, .open])
        #expect(records.map { $0.reason == nil } == [false, true])
        mount.fileSystem.release(handle)
    }
}
