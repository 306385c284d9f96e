import Inodes
import RemoteAPI
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Removing names", .timeLimit(.minutes(5)))
struct UnlinkTests {
    @Test("An unlinked open file is read and written on, and nothing of it is uploaded")
    func open() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100_000))
        let handle = try await mount.open("a", writes: true)
        let inode = try await mount.inode("a")
        try await mount.unlink("a")
        #expect(mount.remote.tree.isEmpty)
        #expect(try await mount.read(handle, 0..<100_000) == pattern(100_000))
        try await mount.write(handle, [255], at: 100_000)
        #expect(try await mount.read(handle, 99_999..<100_001) == [pattern(1, from: 99_999)[0], 255])
        mount.remote.forgetCalls()
        try await mount.fileSystem.fsync(handle)
        try await mount.close(handle)
        mount.forget(inode)
        #expect(mount.remote.calls.isEmpty)
        #expect(mount.staged.isEmpty)
        #expect(mount.recovered.isEmpty)
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("What is written to an unlinked file no later mount finds", arguments: [false, true])
    func writtenBeforeKill(isChangedBefore: Bool) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100_000))
        let handle = try await mount.open("a", writes: true)
        if isChangedBefore { try await mount.write(handle, [254], at: 10) }
        try await mount.unlink("a")
        try await mount.write(handle, [255], at: 100_000)
        try await mount.fileSystem.truncate(handle.content.inode, to: 50_000, through: handle)
        try await mount.fileSystem.fsync(handle)
        #expect(mount.staged.allSatisfy { $0.hasPrefix("clean-") })
        let next = try await mount.killed()
        #expect(next.recovered.isEmpty)
        #expect(next.staged.isEmpty)
        #expect(try await mount.read(handle, 49_999..<50_001) == [pattern(1, from: 49_999)[0]])
        try await mount.close(handle)
    }

    @Test("The name of an unlinked open file can be used again, and the two are two files")
    func nameAgain() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let old = try await mount.open("a", writes: true)
        try await mount.unlink("a")
        try await mount.put("a", [7])
        try await mount.write(old, [255])
        #expect(try await mount.read(old, 0..<2) == [255, 1])
        try await mount.close(old)
        #expect(mount.remote.bytes(of: "a") == [7])
        #expect(try await mount.get("a") == [7])
    }

    @Test(
        "A file that others have replaced while it is open is unlinked all the same, and read as it was then"
    )
    func replacedElsewhere() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100_000))
        let handle = try await mount.open("a")
        defer { mount.fileSystem.release(handle) }
        mount.remote.put("a", pattern(10, from: 5))
        try await mount.unlink("a")
        #expect(mount.remote.tree.isEmpty)
        #expect(try await mount.read(handle, 0..<100) == pattern(10, from: 5))
    }

    @Test("A file that is only here is unlinked without a request")
    func localOnly() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        mount.remote.forgetCalls()
        try await mount.unlink("a")
        try await mount.close(handle)
        #expect(mount.remote.calls.isEmpty)
        #expect(mount.recovered.isEmpty)
    }

    @Test("No power failure brings back a file that waited, once it is unlinked", arguments: [false, true])
    func powerFailure(isOnServer: Bool) async throws {
        let mount = try Mount(writes: .waiting)
        if isOnServer { mount.remote.put("a", pattern(10)) }
        try await mount.put("a", pattern(100))
        let journal = mount.fileSystem.staging.journal
        let count = journal.syncedCommitCount
        try await mount.unlink("a")
        #expect(journal.syncedCommitCount == count + 1)
        #expect(try await journal.records().isEmpty)
    }

    @Test("The unlink of a file of which nobody was told that it is safe waits for no disk")
    func nothingPromised() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(10))
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let journal = mount.fileSystem.staging.journal
        let count = journal.syncedCommitCount
        try await mount.unlink("a")
        try await mount.unlink("b")
        #expect(journal.syncedCommitCount == count)
        try await mount.close(handle)
    }

    @Test("A file that cannot be read whole is not unlinked under its reader")
    func unreadable() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a")
        mount.faulty.fail(.read, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.unlink("a") } == .remote(.timedOut)
        )
        #expect(mount.remote.tree == ["a"])
        #expect(try await mount.read(handle, 0..<100) == pattern(100))
        mount.fileSystem.release(handle)
    }

    @Test("A deletion that fails leaves the file, with what was written to it")
    func failing() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255])
        mount.faulty.fail(.delete, with: .unavailable("x"))
        #expect(
            await failure { () throws(FileSystemError) in try await mount.unlink("a") }
                == .remote(.unavailable("x"))
        )
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a")?.first == 255)
    }

    @Test("What is gone from the service already is not there")
    func goneAlready() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        _ = try await mount.list()
        mount.remote.remove("a")
        #expect(await failure { () throws(FileSystemError) in try await mount.unlink("a") } == .noSuchFile)
        #expect(try await !mount.exists("a"))
    }

    @Test("unlink takes no directory and rmdir no file, and no request tries to")
    func kinds() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        mount.remote.makeDirectory("d")
        #expect(await failure { () throws(FileSystemError) in try await mount.unlink("d") } == .isDirectory)
        #expect(await failure { () throws(FileSystemError) in try await mount.rmdir("a") } == .notDirectory)
        #expect(await failure { () throws(FileSystemError) in try await mount.rmdir("x") } == .noSuchFile)
        #expect(await failure { () throws(FileSystemError) in try await mount.unlink("x") } == .noSuchFile)
        #expect(mount.remote.count(.delete) == 0)
    }

    @Test("A file that became a directory behind our back is not deleted once its listing is too old")
    func becameDirectory() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        _ = try await mount.get("a")
        mount.remote.remove("a")
        mount.remote.put("a/precious", [7])
        mount.expire()
        #expect(await failure { () throws(FileSystemError) in try await mount.unlink("a") } == .isDirectory)
        #expect(mount.remote.bytes(of: "a/precious") == [7])
        #expect(mount.remote.count(.delete) == 0)
    }

    @Test("A directory that became a file behind our back is not removed by rmdir")
    func becameFile() async throws {
        for behaviour in InMemoryRemote.Behaviour.allCases {
            let mount = try Mount(behaviour)
            mount.remote.makeDirectory("d")
            _ = try await mount.list("d")
            mount.remote.remove("d")
            mount.remote.put("d", [7])
            mount.expire()
            #expect(
                await failure { () throws(FileSystemError) in try await mount.rmdir("d") } == .notDirectory
            )
            #expect(mount.remote.bytes(of: "d") == [7])
        }
    }

    @Test("A directory that was filled behind our back is not removed, however fresh our listing")
    func filled() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        #expect(try await mount.list("d").isEmpty)
        mount.remote.put("d/precious", [7])
        #expect(await failure { () throws(FileSystemError) in try await mount.rmdir("d") } == .notEmpty)
        #expect(mount.remote.bytes(of: "d/precious") == [7])
        #expect(try await mount.list("d") == ["precious"])
    }

    @Test("A directory of names that cannot be shown is not empty")
    func refusedNames() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        mount.remote.putRefusedNames(in: "d", count: 2)
        #expect(await failure { () throws(FileSystemError) in try await mount.rmdir("d") } == .notEmpty)
        #expect(mount.remote.refusedNameCount(in: "d") == 2)
    }

    @Test("A directory with a file that is only here is not empty")
    func localFile() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        let handle = try await mount.create("d/a")
        try await mount.write(handle, [1])
        #expect(await failure { () throws(FileSystemError) in try await mount.rmdir("d") } == .notEmpty)
        try await mount.close(handle)
        #expect(mount.remote.tree == ["d/", "d/a"])
    }

    @Test("A file made in a directory while that is removed is either refused or keeps it")
    func createdMeanwhile() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        let directory = try await mount.inode("d")
        let hold = mount.remote.hold(.delete)
        let removing = Task { try await mount.rmdir("d") }
        await hold.reached()
        let creating = Task.immediate { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in
                let handle = try await mount.fileSystem.create(
                    directory,
                    Array("new".utf8),
                    mode: OpenMode(reads: true, writes: true),
                    attributes: .init(),
                    by: Mount.process
                ).1
                try await mount.close(handle)
            }
        }
        hold.release()
        try await removing.value
        #expect(await creating.value == .noSuchFile)
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("rm -r of a tree works name by name, and the same names can be made again")
    func removeTree() async throws {
        let mount = try Mount()
        for name in ["d/a", "d/e/b", "d/e/c"] { mount.remote.put(name, [1]) }
        for name in ["d/a", "d/e/b", "d/e/c"] { try await mount.unlink(name) }
        try await mount.rmdir("d/e")
        try await mount.rmdir("d")
        #expect(mount.remote.tree.isEmpty)
        try await mount.put("d", [1])
        #expect(mount.remote.tree == ["d"])
    }

    @Test("mkdir of what somebody else made meanwhile is told so, and shows it")
    func mkdirConflict() async throws {
        let mount = try Mount()
        #expect(try await mount.list().isEmpty)
        mount.remote.makeDirectory("d")
        #expect(await failure { () throws(FileSystemError) in try await mount.mkdir("d") } == .exists)
        #expect(try await mount.list() == ["d"])
    }

    @Test("mkdir in a directory that is gone is told so")
    func mkdirWithoutParent() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        #expect(try await mount.list("d").isEmpty)
        mount.remote.remove("d")
        #expect(await failure { () throws(FileSystemError) in try await mount.mkdir("d/e") } == .noSuchFile)
    }

    @Test(
        "A name that Linux allows and the API cannot carry is refused with an errno of its own, or is absent"
    )
    func unrepresentable() async throws {
        let mount = try Mount()
        let name: [UInt8] = [0x61, 0xff]
        let long = [UInt8](repeating: 0x61, count: 256)
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.mkdir(.root, name, attributes: .init())
            } == .unrepresentableName
        )
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.mkdir(.root, long, attributes: .init())
            } == .nameTooLong
        )
        guard case .now(.absent) = try mount.fileSystem.lookupNow(.root, name) else {
            Issue.record("not absent")
            return
        }
        #expect(mount.remote.calls.isEmpty)
    }
}
