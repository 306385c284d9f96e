import Dispatch
import Glibc
import Synchronization
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("What was safe here once, and what a power failure could bring back of it", .timeLimit(.minutes(5)))
struct WithdrawnPromiseTests {
    @Test(
        "Before the first change after an upload the journal has for good that nothing waits any more",
        arguments: [true, false]
    )
    func changeAfterUpload(isEmptied: Bool) async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("f", pattern(100))
        #expect(await mount.fileSystem.drain().isEmpty)
        let journal = mount.fileSystem.staging.journal
        #expect(journal.mayBringBack)
        let handle = try await mount.open("f", writes: true, truncates: isEmptied)
        try await mount.write(handle, pattern(150, from: 7))
        #expect(!journal.mayBringBack)
        // That of others is none of this one's business.
        try await mount.put("g", pattern(10))
        #expect(await mount.fileSystem.drain().isEmpty)
        let count = journal.syncedCommitCount
        try await mount.write(handle, pattern(150, from: 9))
        #expect(journal.mayBringBack && journal.syncedCommitCount == count)
        mount.fileSystem.release(handle)
    }

    @Test("Nothing is changed before what the last process took back is gone for good")
    func takenBackBefore() async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("f", pattern(100))
        #expect(await mount.fileSystem.drain().isEmpty)
        let journal = mount.fileSystem.staging.journal
        await journal.written()
        #expect(journal.mayBringBack)
        let next = try Mount(writes: .waiting, over: mount.remote.copy(), in: mount.directory.copy())
        #expect(next.fileSystem.staging.journal.work.withLock { !$0.isUnsynced })
    }

    @Test("Nor is a file on the service before older bytes that were safe here can come back no more")
    func olderPromise() async throws {
        let mount = try Mount(writes: .waiting)
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        try await mount.write(handle, pattern(100, from: 7))
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(!mount.fileSystem.staging.journal.mayBringBack)
        #expect(mount.remote.bytes(of: "a") == pattern(100, from: 7))
        mount.fileSystem.release(handle)
    }

    @Test("Nor what an earlier mount left of a file that is emptied and written anew")
    func emptiedPromise() async throws {
        var mount = try Mount(writes: .waiting)
        try await mount.put("a", pattern(100))
        try await Mount.remount(&mount, writes: WriteOptions())
        mount.faulty.fail(.beginUpload, with: .timedOut)
        try await mount.fileSystem.recover()
        try await mount.fileSystem.begin(isReadOnly: false)
        try await mount.put("a", pattern(100, from: 7))
        #expect(mount.remote.bytes(of: "a") == pattern(100, from: 7))
        #expect(!mount.fileSystem.staging.journal.mayBringBack)
    }

    @Test("A close waits for another one that is about to make the same bytes safe")
    func closeDuringClose() async throws {
        let mount = try Mount(writes: .waiting)
        let (one, two) = (try await mount.create("a"), try await mount.open("a", writes: true, by: 7))
        for round in 0..<2 {
            try await mount.write(one, [1])
            try await mount.write(two, [2], at: 1 + round, by: 7)
            let (isHeld, mayGo) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            let journal = mount.fileSystem.staging.journal
            DispatchQueue.global().async {
                journal.together {
                    isHeld.signal()
                    mayGo.wait()
                }
            }
            await withCheckedContinuation { continuation in
                DispatchQueue.global().async {
                    isHeld.wait()
                    continuation.resume()
                }
            }
            let closing = Task { try await mount.fileSystem.flush(one, by: Mount.process) }
            #expect(await mount.comes { two.content.isCovered })
            #expect(mount.fileSystem.needsFlush(two))
            mayGo.signal()
            try await closing.value
            #expect(!mount.fileSystem.needsFlush(two))
        }
        for handle in [one, two] { mount.fileSystem.release(handle) }
    }

    @Test("What the local disk failed to take is not uploaded, but kept", arguments: [true, false])
    func failingDisk(isMet: Bool) async throws {
        let fail: @Sendable (Int32) -> Int32 = { _ in
            errno = EIO
            return -1
        }
        // Met by fsync(2), or afterwards by who asks.
        let mount =
            isMet ? try Mount(writes: .waiting, syncFile: fail) : try Mount(checkFile: fail)
        mount.remote.put("a", pattern(10))
        let error = await failure { () throws(FileSystemError) in
            try await mount.put("a", pattern(10, from: 7))
        }
        #expect(error == .local(.ioError))
        // Whoever waits for all is told.
        #expect(await mount.fileSystem.drain().count == 1)
        #expect(mount.remote.bytes(of: "a") == pattern(10))
        #expect(await mount.comes { mount.recovered.count == 1 })
        #expect(try await mount.get("a") == pattern(10))
    }

    @Test(
        "A file whose rename could not make it safe is made so by its close",
        .enabled(if: geteuid() == 0, "mounting a small disk takes root")
    )
    func closeAfterFailedRename() async throws {
        let disk = try #require(SmallDisk())
        defer { disk.unmount() }
        let mount = try Mount(writes: .waiting, in: disk.directory)
        try await mount.put("b", pattern(100))
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(30))
        disk.fill(for: mount)
        await #expect(throws: FileSystemError.local(.noSpace)) { try await mount.rename("a", "b") }
        #expect(mount.fileSystem.needsFlush(handle))
        disk.clear()
        try await mount.close(handle)
        #expect(try await mount.leftByCrash() == ["a": pattern(30), "b": pattern(100)])
    }

    @Test("A copy that the local disk lost does not spoil what is written next", arguments: [true, false])
    func writtenOverLostCopy(isEmptied: Bool) async throws {
        let disk = FailingDisk()
        let mount = try Mount(checkFile: disk.check)
        try await mount.put("a", pattern(100))
        disk.failures.store(1, ordering: .relaxed)
        let handle = try await mount.open("a", writes: true, truncates: isEmptied)
        try await mount.write(handle, [255], at: 10)
        try await mount.close(handle)
        let rest = isEmptied ? [UInt8](repeating: 0, count: 10) : Array(pattern(10))
        let end = isEmptied ? [] : pattern(100)[11...]
        #expect(mount.remote.bytes(of: "a") == rest + [255] + end)
    }

    @Test("All who close a file are told that the local disk lost what was written to it")
    func toldToAll() async throws {
        let disk = FailingDisk()
        let mount = try Mount(checkFile: disk.check)
        let handles = [try await mount.create("a"), try await mount.open("a", writes: true, by: 7)]
        try await mount.write(handles[0], [1])
        try await mount.write(handles[1], [2], at: 1, by: 7)
        disk.failures.store(1, ordering: .relaxed)
        let hold = mount.remote.hold(.putPart)
        let first = Task.immediate { try await mount.fileSystem.flush(handles[0], by: Mount.process) }
        await hold.reached()
        let second = Task.immediate { try await mount.fileSystem.flush(handles[1], by: 7) }
        hold.release()
        for closing in [first, second] {
            await #expect(throws: FileSystemError.local(.ioError)) { try await closing.value }
        }
        for handle in handles { mount.fileSystem.release(handle) }
        #expect(mount.recovered.count == 1 && mount.remote.tree.isEmpty)
    }

    @Test("Of a copy of what the service has nothing is believed once the local disk lost some of it")
    func lostCopy() async throws {
        let disk = FailingDisk()
        let mount = try Mount(checkFile: disk.check)
        try await mount.mkdir("d")
        for name in ["a", "d/a"] { try await mount.put(name, pattern(100)) }
        disk.failures.store(.max, ordering: .relaxed)
        // What the disk has in their place.
        for name in mount.staged {
            let path = mount.directory.path + "/cache/f-1/staging/" + name
            #expect(truncate(path, 0) == 0 && truncate(path, 100) == 0)
        }
        #expect(try await mount.get("a") == pattern(100))
        try await mount.rename("a", "b")
        try await mount.rename("d", "e")
        #expect(mount.remote.bytes(of: "b") == pattern(100) && mount.remote.bytes(of: "e/a") == pattern(100))
        // What nobody else has is not made up.
        let handle = try await mount.open("b", writes: true, truncates: true)
        try await mount.write(handle, pattern(50))
        let error = await failure { () throws(FileSystemError) in try await mount.read(handle) }
        #expect(error == .local(.ioError))
        mount.fileSystem.release(handle)
    }
}
