import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What other clients change, and how the deployed service differs", .timeLimit(.minutes(5)))
struct ForeignChangeTests {
    @Test("A file that was replaced with a longer one is read whole once the time to live is over")
    func longer() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        #expect(try await mount.get("a") == pattern(100))
        mount.remote.put("a", pattern(300, from: 5))
        mount.expire()
        #expect(try await mount.get("a") == pattern(300, from: 5))
    }

    @Test("A file that was replaced with a shorter one is read as that, and never with made-up bytes")
    func shorter() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(300_000))
        let handle = try await mount.open("a")
        mount.remote.put("a", pattern(10, from: 5))
        #expect(try await mount.read(handle, 0..<100) == pattern(10, from: 5))
        #expect(try await mount.size("a") == 10)
        mount.fileSystem.release(handle)
    }

    @Test("Nothing of a body that was too short is read in a file that is as long as before by then")
    func shorterForAMoment() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(262_144))
        let handle = try await mount.open("a")
        #expect(try await mount.read(handle, 200_000..<200_100) == pattern(100, from: 200_000))
        mount.remote.put("a", pattern(131_072, from: 5))
        let sizes = mount.remote.hold(.size)
        let read = Task { try await mount.read(handle, 0..<196_608) }
        await sizes.reached()
        mount.remote.put("a", pattern(262_144, from: 9))
        sizes.release()
        #expect(try await read.value == pattern(196_608, from: 9))
        mount.fileSystem.release(handle)
        #expect(try await mount.get("a") == pattern(262_144, from: 9))
    }

    @Test(
        "A read that ends before the size which the kernel was told fails: it would be filled up with zeros"
    )
    func shorterThanTold() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(300_000))
        #expect(try await mount.size("a") == 300_000)
        let handle = try await mount.open("a")
        mount.remote.put("a", pattern(10, from: 5))
        #expect(
            await failure { () throws(FileSystemError) in try await mount.read(handle, 200_000..<200_100) }
                == .changedOnServer
        )
        #expect(try await mount.size("a") == 10)
        #expect(try await mount.read(handle, 0..<100) == pattern(10, from: 5))
        mount.fileSystem.release(handle)
    }

    @Test(
        "A read that the kernel sent before it heard of a smaller size fails, as it would fill it up with zeros"
    )
    func sentBeforeTold() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(300_000))
        #expect(try await mount.size("a") == 300_000)
        let handle = try await mount.open("a")
        mount.remote.put("a", pattern(200_000, from: 5))
        mount.expire()
        #expect(try await mount.size("a") == 200_000)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.read(handle, 131_072..<262_144) }
                == .changedOnServer
        )
        // As a kernel asks that has heard of it: to the end of the last page.
        let last = try await mount.read(handle, 196_608..<200_704)
        #expect(last == Array(pattern(200_000, from: 5)[196_608...]))
        mount.fileSystem.release(handle)
    }

    @Test("A file that vanished under a reader is stale for it and absent for others")
    func vanished() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a")
        mount.remote.remove("a")
        #expect(await failure { () throws(FileSystemError) in try await mount.read(handle) } == .stale)
        #expect(try await !mount.exists("a"))
        mount.fileSystem.release(handle)
    }

    @Test("A write to a file that vanished meanwhile is refused, and not said to be on the service")
    func vanishedUnderWriter() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true)
        mount.remote.remove("a")
        mount.expire()
        #expect(try await !mount.exists("a"))
        #expect(await failure { () throws(FileSystemError) in try await mount.write(handle, [1]) } == .stale)
        mount.fileSystem.release(handle)
        #expect(mount.remote.tree.isEmpty)
    }

    @Test(
        "Unsent bytes whose directory vanished are kept where a person finds them, and told at unmount once"
    )
    func directoryVanishedUnderWriter() async throws {
        let mount = try Mount()
        mount.remote.makeDirectory("d")
        let handle = try await mount.create("d/a")
        try await mount.write(handle, pattern(20))
        mount.remote.remove("d")
        mount.expire()
        #expect(try await !mount.exists("d"))
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            } == .stale
        )
        mount.fileSystem.release(handle)
        let unsent = await mount.fileSystem.drain()
        #expect(unsent.map(\.byteCount) == [20])
        let kept = try #require(mount.recovered.first)
        #expect(mount.recovered.count == 1)
        #expect(unsent.first?.place.contains(kept) == true)
        #expect(mount.directory.bytes(of: "cache/f-1/recovered/\(kept)") == pattern(20))
        #expect(await mount.fileSystem.drain().isEmpty)
    }

    @Test("A file with unsent bytes that others removed is there again after its close")
    func removedWhileDirty() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, [1])
        mount.remote.remove("a")
        mount.expire()
        #expect(try await mount.get("a") == [1])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("New names show after the time to live, and vanished ones are absent then")
    func names() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        #expect(try await mount.list() == ["a"])
        mount.remote.remove("a")
        mount.remote.put("b", [1])
        #expect(try await mount.list() == ["a"])
        mount.expire()
        #expect(try await mount.list() == ["b"])
        #expect(try await !mount.exists("a"))
    }

    @Test("What was written here is read from here, until the service is seen to have another version")
    func retained() async throws {
        let mount = try Mount()
        try await mount.put("a", pattern(100))
        mount.expire()
        #expect(try await mount.get("a") == pattern(100))
        #expect(mount.remote.count(.read) == 0)
        mount.remote.put("a", pattern(101, from: 9))
        mount.expire()
        #expect(try await mount.get("a") == pattern(101, from: 9))
    }

    @Test("Nothing of a version that was seen to have ended is read where bytes written here were kept of it")
    func retainedInPart() async throws {
        let block = 65_536
        let mount = try Mount()
        mount.remote.put("a", pattern(4 * block))
        let handle = try await mount.open("a", writes: true)
        defer { mount.fileSystem.release(handle) }
        try await mount.write(handle, [255])
        try await mount.fileSystem.flush(handle, by: Mount.process)
        #expect(try await mount.size("a") == 4 * block)
        // In memory from now on.
        #expect(
            try await mount.read(handle, 2 * block..<2 * block + 10) == pattern(10, from: 2 * block)
        )
        mount.remote.put("a", pattern(3 * block, from: 9))
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.read(handle, 3 * block..<3 * block + 10)
            } == .changedOnServer
        )
        #expect(
            try await mount.read(handle, 2 * block..<2 * block + 10) == pattern(10, from: 2 * block + 9)
        )
        #expect(try await mount.read(handle, 0..<10) == pattern(10, from: 9))
    }

    @Test(
        "A directory that is gone is absent on either service, not empty",
        arguments: InMemoryRemote.Behaviour.allCases
    )
    func goneDirectory(behaviour: InMemoryRemote.Behaviour) async throws {
        let mount = try Mount(behaviour)
        mount.remote.put("d/a", [1])
        _ = try await mount.list("d")
        mount.remote.remove("d")
        mount.expire()
        #expect(await failure { () throws(FileSystemError) in try await mount.list("d") } == .noSuchFile)
        #expect(await failure { () throws(FileSystemError) in try await mount.create("d/b") } == .noSuchFile)
    }

    @Test("Everyday work goes the same way on either service", arguments: InMemoryRemote.Behaviour.allCases)
    func everyday(behaviour: InMemoryRemote.Behaviour) async throws {
        let mount = try Mount(behaviour)
        try await mount.mkdir("d")
        try await mount.mkdir("d/e")
        try await mount.put("d/e/a", pattern(1000))
        try await mount.put("d/e/a", pattern(500))
        try await mount.rename("d/e/a", "d/b")
        #expect(try await mount.list("d/e").isEmpty)
        #expect(try await mount.list("d") == ["b", "e"])
        try await mount.rename("d", "x")
        #expect(try await mount.get("x/b") == pattern(500))
        try await mount.unlink("x/b")
        try await mount.rmdir("x/e")
        try await mount.rmdir("x")
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("Our own uploads do not show as names, neither while they run nor after they failed")
    func stagingNames() async throws {
        let mount = try Mount(.deployed)
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.putPart)
        mount.faulty.fail(.completeUpload, with: .timedOut)
        let closing = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            }
        }
        await hold.reached()
        mount.expire()
        #expect(try await mount.list() == ["a"])
        hold.release()
        #expect(await closing.value == .remote(.timedOut))
        mount.expire()
        #expect(try await mount.list() == ["a"])
        try await mount.close(handle)
    }

    @Test("An empty file that the service does not take fails its close, and is sent once it has bytes")
    func emptyFile() async throws {
        let mount = try Mount(.deployed)
        let handle = try await mount.create("a")
        let error = await failure { () throws(FileSystemError) in
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        #expect(error?.errno == .ioError)
        #expect(try await mount.exists("a"))
        try await mount.write(handle, [1])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("A directory that answers for a size is still a directory")
    func directorySize() async throws {
        let mount = try Mount(.deployed)
        mount.remote.put("d/a", [1])
        #expect(try await mount.stat("d").kind == .directory)
        #expect(await failure { () throws(FileSystemError) in try await mount.open("d") } == .isDirectory)
        #expect(mount.remote.count(.size) == 0)
    }

    @Test("With a time to live of 0 everything works, with more requests")
    func noTimeToLive() async throws {
        let mount = try Mount(timeToLive: .zero)
        try await mount.mkdir("d")
        try await mount.put("d/a", pattern(100))
        #expect(try await mount.get("d/a") == pattern(100))
        let handle = try await mount.open("d/a", writes: true)
        try await mount.write(handle, [255], at: 50)
        #expect(try await mount.read(handle, 49..<52) == [49, 255, 51])
        try await mount.close(handle)
        try await mount.rename("d/a", "d/b")
        try await mount.rename("d", "x")
        #expect(mount.remote.tree == ["x/", "x/b"])
        #expect(mount.remote.bytes(of: "x/b")?[50] == 255)
        try await mount.truncate("x/b", to: 10)
        #expect(try await mount.get("x/b") == pattern(10))
        try await mount.unlink("x/b")
        try await mount.rmdir("x")
        #expect(mount.remote.tree.isEmpty)
    }
}
