import Inodes
import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Going through a tree", .timeLimit(.minutes(5)))
struct WalkTests {
    /// Lists directories one after the other as find does, and gives what they hold.
    private func list(_ mount: Mount, _ names: some Sequence<String>) async throws -> [[String]] {
        var lists: [[String]] = []
        for name in names { lists.append(try await mount.list(name)) }
        return lists
    }

    private func fill(_ mount: Mount, _ count: Int) -> [String] {
        let names = (0..<count).map { "d\(1000 + $0)" }
        for name in names { mount.remote.put("\(name)/f", [1]) }
        return names
    }

    @Test("find has many listings under way at once, and one a directory in all")
    func many() async throws {
        let mount = try Mount()
        let names = self.fill(mount, 200)
        #expect(try await mount.list() == names)
        _ = try await self.list(mount, names[..<8])
        let hold = mount.remote.hold(.list)
        let rest = Task { try await self.list(mount, names[8...]) }
        await hold.reached(32)
        hold.release()
        #expect(try await rest.value == Array(repeating: ["f"], count: 192))
        #expect(mount.remote.count(.list) == 201)
        #expect(mount.remote.inFlightMaximum(.list) <= 64)
        #expect(mount.remote.count(.size) == 0)
    }

    @Test("Empty directories cost one listing each too", arguments: InMemoryRemote.Behaviour.allCases)
    func empty(behaviour: InMemoryRemote.Behaviour) async throws {
        let mount = try Mount(behaviour)
        let names = (0..<50).map { "d\(100 + $0)" }
        for name in names { mount.remote.makeDirectory(name) }
        #expect(try await mount.list() == names)
        #expect(try await self.list(mount, names).joined().isEmpty)
        #expect(mount.remote.count(.list) == 51)
    }

    @Test("ls -l of a directory lists no directory in it")
    func lsLong() async throws {
        let mount = try Mount()
        let names = self.fill(mount, 20)
        for name in try await mount.list() { _ = try await mount.stat(name) }
        #expect(names.count == 20)
        #expect(mount.remote.calls == ["list "])
    }

    @Test("Opening the first directory costs one listing too many at most, opening another one none")
    func one() async throws {
        let mount = try Mount()
        _ = self.fill(mount, 20)
        _ = try await mount.list()
        _ = try await mount.list("d1007")
        #expect(mount.remote.calls == ["list ", "list d1007"])
        _ = try await mount.list("d1000")
        await mount.remote.ended(.list, 4)
        #expect(Set(mount.remote.calls) == ["list ", "list d1007", "list d1000", "list d1001"])
    }

    @Test("A listing ahead that fails is silent, and its directory is listed when the program comes to it")
    func failure() async throws {
        let mount = try Mount()
        let names = self.fill(mount, 20)
        _ = try await mount.list()
        _ = try await mount.list("d1000")
        await mount.remote.ended(.list, 3)
        // Of d1001, which is listed, comes the next ahead.
        mount.faulty.fail(.list, with: .forbidden)
        _ = try await mount.list("d1001")
        var failures = 0
        for name in names[2...] {
            do throws(FileSystemError) { _ = try await mount.list(name) } catch { failures += 1 }
        }
        // The program may have come while the failing request was under way, and shared it.
        #expect(failures <= 1)
        #expect(mount.remote.count(.list) == 21 - failures)
    }

    @Test("A directory that appears or goes while a walk goes on is seen as it is")
    func changes() async throws {
        let mount = try Mount()
        let names = self.fill(mount, 40)
        _ = try await mount.list()
        _ = try await self.list(mount, names[..<10])
        try await mount.put("d1030/new", [1])
        try await mount.unlink("d1031/f")
        try await mount.rmdir("d1031")
        #expect(try await mount.list("d1030") == ["f", "new"])
        await #expect(throws: FileSystemError.noSuchFile) { try await mount.list("d1031") }
        #expect(try await self.list(mount, names[32...]) == Array(repeating: ["f"], count: 8))
    }

    @Test("du over a tree asks for sizes in the directories ahead, each once and many at once")
    func sizes() async throws {
        let mount = try Mount()
        let names = self.fill(mount, 200)
        _ = try await mount.list()
        for name in names[..<20] {
            _ = try await mount.list(name)
            #expect(try await mount.size(name + "/f") == 1)
        }
        let hold = mount.remote.hold(.size)
        let rest = Task {
            for name in names[20...] {
                _ = try await mount.list(name)
                #expect(try await mount.size(name + "/f") == 1)
            }
        }
        await hold.reached(32)
        hold.release()
        try await rest.value
        #expect(mount.remote.count(.list) == 201)
        #expect(mount.remote.count(.size) == 200)
        #expect(mount.remote.inFlightMaximum(.size) <= 64)
    }

    @Test("With a time to live of 0 nothing is listed ahead, as it would not be believed")
    func nothingBelieved() async throws {
        let mount = try Mount(timeToLive: .zero)
        let directory = try await mount.inode("")
        _ = self.fill(mount, 20)
        for inode in [directory] + [try await mount.inode("d1000"), try await mount.inode("d1001")] {
            let count = mount.remote.count(.list)
            let handle = try await mount.fileSystem.opendir(inode)
            _ = mount.fileSystem.readdir(handle, from: 0)
            mount.fileSystem.releasedir(handle)
            #expect(mount.remote.count(.list) == count + 1)
        }
    }

    @Test("The files that come next are those after a file, then those of the next directories of the walk")
    func filesAhead() async throws {
        let mount = try Mount()
        for name in ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2"] { mount.remote.put(name, [1]) }
        _ = try await mount.list()
        _ = try await mount.list("a")
        await mount.remote.ended(.list, 3)
        _ = try await mount.list("b")
        let directory = try await mount.inode("c")
        let file = try await mount.inode("b/1")
        var ahead: [String] = []
        // It is known a moment after the service's answer.
        while ahead.count < 2 {
            await Task.yield()
            let files = mount.fileSystem.namespace.filesAhead(of: file, limit: 10)
            ahead = files.map { "\($0.directory == directory ? "c" : "?")/\($0.dirent.name)" }
        }
        #expect(ahead == ["c/1", "c/2"])
        let first = try await mount.inode("a/2")
        let limited = mount.fileSystem.namespace.filesAhead(of: first, limit: 2)
        #expect(limited.map { "\($0.dirent.name)" } == ["3", "1"])
    }
}
