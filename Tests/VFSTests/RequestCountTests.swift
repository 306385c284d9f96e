import Inodes
import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What each operation costs the service", .timeLimit(.minutes(5)))
struct RequestCountTests {
    @Test("ls lists each directory on the path once and asks for no sizes; again it costs nothing")
    func ls() async throws {
        let mount = try Mount()
        for index in 0..<10 { mount.remote.put("d/e/f\(index)", [1]) }
        #expect(try await mount.list("d/e").count == 10)
        #expect(mount.remote.calls == ["list ", "list d", "list d/e"])
        #expect(try await mount.list("d/e").count == 10)
        #expect(try await !mount.exists("d/e/missing"))
        #expect(mount.remote.calls.count == 3)
    }

    @Test("ls -l of n files is the listings and n sizes, 16 of them at once at least")
    func lsLong() async throws {
        let mount = try Mount()
        for index in 100..<200 { mount.remote.put("d/f\(index)", pattern(index)) }
        let directory = try await mount.inode("d")
        let handle = try await mount.fileSystem.opendir(directory)
        let hold = mount.remote.hold(.size)
        let entries = mount.fileSystem.readdir(handle, from: 0)
        let sizes = Task {
            var sizes: [Int] = []
            for entry in entries {
                let inode = try await mount.lookup(directory, entry.name)
                mount.fileSystem.noteStat(of: inode)
                sizes.append(Int(try await mount.fileSystem.getattr(inode).0.size))
            }
            return sizes
        }
        await hold.reached(16)
        hold.release()
        #expect(try await sizes.value == Array(100..<200))
        mount.fileSystem.releasedir(handle)
        #expect(mount.remote.count(.list) == 2)
        #expect(mount.remote.count(.size) == 100)
    }

    @Test("cat of a small file is the listings and at most two; again it costs nothing")
    func cat() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(1000))
        #expect(try await mount.get("d/a") == pattern(1000))
        #expect(mount.remote.calls == ["list ", "list d", "size d/a", "read d/a 0-1000"])
        #expect(try await mount.get("d/a") == pattern(1000))
        #expect(mount.remote.calls.count == 4)
    }

    @Test("A new small file is three, and reading it back is none")
    func write() async throws {
        let mount = try Mount()
        _ = try await mount.list()
        mount.remote.forgetCalls()
        try await mount.put("a", pattern(1000))
        #expect(mount.remote.calls == ["begin a 1000", "put a 0-1000", "complete a"])
        #expect(mount.remote.bytes(of: "a") == pattern(1000))
        #expect(try await mount.get("a") == pattern(1000))
        #expect(try await mount.size("a") == 1000)
        #expect(mount.remote.calls.count == 3)
    }

    @Test("An overwritten file, emptied first, is three and downloads nothing")
    func overwrite() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(5000))
        _ = try await mount.list()
        mount.remote.forgetCalls()
        try await mount.put("a", pattern(10, from: 7))
        #expect(mount.remote.calls == ["begin a 10", "put a 0-10", "complete a"])
        #expect(mount.remote.bytes(of: "a") == pattern(10, from: 7))
    }

    @Test("mkdir and rm are one, rmdir is a fresh listing and one")
    func names() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        _ = try await mount.list()
        mount.remote.forgetCalls()
        try await mount.mkdir("d")
        #expect(mount.remote.calls == ["mkdir d"])
        mount.remote.forgetCalls()
        try await mount.unlink("a")
        #expect(mount.remote.calls == ["delete a"])
        mount.remote.forgetCalls()
        try await mount.rmdir("d")
        #expect(mount.remote.calls == ["list d", "delete d"])
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("rm of a file that was only listed asks for no size")
    func rmListed() async throws {
        let mount = try Mount()
        for index in 0..<10 { mount.remote.put("f\(index)", [1]) }
        for name in try await mount.list() { try await mount.unlink(name) }
        #expect(mount.remote.count(.size) == 0)
        #expect(mount.remote.count(.delete) == 10)
        #expect(mount.remote.count(.list) == 1)
    }

    @Test("mv of a file just written, or just read, is four and no download", arguments: [true, false])
    func mv(isWritten: Bool) async throws {
        let mount = try Mount()
        if isWritten {
            try await mount.put("a", pattern(1000))
        } else {
            mount.remote.put("a", pattern(1000))
            _ = try await mount.get("a")
        }
        mount.remote.forgetCalls()
        try await mount.rename("a", "b")
        #expect(mount.remote.calls == ["begin b 1000", "put b 0-1000", "complete b", "delete a"])
        #expect(mount.remote.bytes(of: "b") == pattern(1000))
        #expect(mount.remote.tree == ["b"])
        #expect(try await mount.get("b") == pattern(1000))
        #expect(mount.remote.calls.count == 4)
    }

    @Test("A file's close that changed nothing sends nothing")
    func closeUnchanged() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        mount.remote.forgetCalls()
        try await mount.close(handle)
        #expect(mount.remote.calls.isEmpty)
    }

    @Test("A second close sends nothing more")
    func closeTwice() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        try await mount.fileSystem.flush(handle, by: Mount.process)
        mount.remote.forgetCalls()
        try await mount.fileSystem.flush(handle, by: Mount.process)
        try await mount.fileSystem.fsync(handle)
        try await mount.close(handle)
        #expect(mount.remote.calls.isEmpty)
    }

    @Test("Small writes here and there in a large file download what is missing once, in whole runs")
    func patch() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1 << 20))
        let handle = try await mount.open("a", writes: true)
        mount.remote.forgetCalls()
        for index in 0..<10 { try await mount.write(handle, [255], at: index * 100_000) }
        try await mount.close(handle)
        var expected = pattern(1 << 20)
        for index in 0..<10 { expected[index * 100_000] = 255 }
        #expect(mount.remote.bytes(of: "a") == expected)
        #expect(mount.remote.count(.read) <= 2)
        // The size shows, side by side, that what is missing here is of the version that was written over.
        let calls = mount.remote.calls(without: "read")
        #expect(calls.filter { $0 != "size a" } == ["begin a 1048576", "put a 0-1048576", "complete a"])
        #expect(calls.count == 4)
    }
}
