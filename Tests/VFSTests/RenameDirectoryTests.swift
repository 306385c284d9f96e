import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Renaming directories, file by file", .timeLimit(.minutes(5)))
struct RenameDirectoryTests {
    private func makeTree(_ mount: Mount) {
        mount.remote.put("d/a", pattern(100))
        mount.remote.put("d/e/b", pattern(200))
        mount.remote.put("d/e/empty", [])
        mount.remote.makeDirectory("d/f")
    }

    private static let moved = ["x/", "x/a", "x/e/", "x/e/b", "x/e/empty", "x/f/"]
    private static let original = ["d/", "d/a", "d/e/", "d/e/b", "d/e/empty", "d/f/"]

    @Test(
        "All that is in it moves, and nothing is left at the old place",
        arguments: [Duration.seconds(10), .zero]
    )
    func move(timeToLive: Duration) async throws {
        let mount = try Mount(timeToLive: timeToLive)
        self.makeTree(mount)
        try await mount.rename("d", "x")
        #expect(mount.remote.tree == Self.moved)
        #expect(mount.remote.bytes(of: "x/a") == pattern(100))
        #expect(mount.remote.bytes(of: "x/e/b") == pattern(200))
        #expect(try await mount.get("x/e/b") == pattern(200))
        #expect(try await !mount.exists("d"))
    }

    @Test("Everything is copied before anything is deleted")
    func order() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        try await mount.rename("d", "x")
        let calls = mount.remote.calls
        let firstDeletion = try #require(calls.firstIndex { $0.hasPrefix("delete") })
        let lastCopy = try #require(calls.lastIndex { $0.hasPrefix("complete") || $0.hasPrefix("mkdir") })
        #expect(lastCopy < firstDeletion)
        #expect(calls.allSatisfy { !$0.hasPrefix("delete x") })
    }

    @Test("What is left at the old place while it is deleted is seen by nobody")
    func goneBefore() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("d", "x") }
        await hold.reached()
        mount.expire()
        #expect(try await !mount.exists("d"))
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == Self.moved)
        // Another one may come there.
        try await mount.mkdir("d")
        #expect(try await mount.exists("d"))
    }

    @Test("A long copy that outlasts the time to live loses nothing")
    func outlasting() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("d", "x") }
        await hold.reached()
        mount.expire()
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == Self.moved)
    }

    @Test(
        "Whatever fails while it is copied leaves the original whole, and takes the copy back",
        arguments: [.beginUpload, .read, .putPart, .completeUpload, .makeDirectory, .list] as [CallKind],
        [0, 1, 2]
    )
    func failing(kind: CallKind, skipping: Int) async throws {
        let mount = try Mount()
        self.makeTree(mount)
        _ = try await mount.list("d/e")
        mount.faulty.fail(kind, with: .unavailable("x"), skipping: skipping)
        let error = await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        mount.faulty.heal()
        if error == nil {
            #expect(mount.remote.tree == Self.moved)
            return
        }
        #expect(Set(mount.remote.tree).isSuperset(of: Self.original))
        #expect(mount.remote.bytes(of: "d/a") == pattern(100))
        #expect(mount.remote.bytes(of: "d/e/b") == pattern(200))
        #expect(mount.remote.tree == Self.original)
        #expect(try await mount.get("d/e/b") == pattern(200))
    }

    @Test("What another client puts there while it is copied is not deleted")
    func foreign() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        }
        await hold.reached()
        mount.remote.put("d/late", [7])
        mount.remote.put("d/e/late", [8])
        // Somebody looks, so that the new names are known here.
        mount.expire()
        _ = try await mount.list("d")
        hold.release()
        #expect(await renaming.value == .notEmpty)
        #expect(mount.remote.bytes(of: "d/late") == [7])
        // This one came before its directory was copied, and went along.
        #expect(mount.remote.bytes(of: "x/e/late") == [8])
        #expect(mount.remote.bytes(of: "x/a") == pattern(100))
        #expect(mount.remote.bytes(of: "x/e/b") == pattern(200))
        #expect(try await mount.list("d").contains("late"))
        #expect(try await mount.get("x/e/b") == pattern(200))
    }

    @Test("What another client wrote to while it was copied is not deleted with the old name")
    func writtenByOthers() async throws {
        let mount = try Mount()
        for name in ["a", "b"] { mount.remote.put("d/\(name)", pattern(10)) }
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task {
            await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        }
        await hold.reached()
        mount.remote.put("d/a", pattern(33))
        hold.release()
        #expect(await renaming.value == .notEmpty)
        #expect(mount.remote.tree == ["d/", "d/a", "x/", "x/a", "x/b"])
        #expect(mount.remote.bytes(of: "d/a") == pattern(33))
    }

    @Test("A directory with names that cannot be shown is not moved, and loses none of them")
    func refusedNames() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        mount.remote.putRefusedNames(in: "d/e", count: 1)
        #expect(await failure { () throws(FileSystemError) in try await mount.rename("d", "x") } != nil)
        #expect(mount.remote.refusedNameCount(in: "d/e") == 1)
        #expect(mount.remote.tree == Self.original)
    }

    @Test("A directory does not replace one that is not empty, be it with names that cannot be shown")
    func fullTarget() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        mount.remote.put("full/a", [1])
        mount.remote.makeDirectory("odd")
        mount.remote.putRefusedNames(in: "odd", count: 1)
        for target in ["full", "odd"] {
            #expect(
                await failure { () throws(FileSystemError) in try await mount.rename("d", target) }
                    == .notEmpty
            )
        }
        #expect(mount.remote.count(.delete) == 0)
        #expect(mount.remote.count(.makeDirectory) == 0)
    }

    @Test("A directory replaces an empty one")
    func emptyTarget() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        mount.remote.makeDirectory("x")
        try await mount.rename("d", "x")
        #expect(mount.remote.tree == Self.moved)
        #expect(try await mount.get("x/a") == pattern(100))
    }

    @Test("A directory does not go into itself")
    func intoItself() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        for target in ["d/x", "d/e/x"] {
            #expect(
                await failure { () throws(FileSystemError) in try await mount.rename("d", target) }
                    == .invalidArgument
            )
        }
        #expect(mount.remote.tree == Self.original)
    }

    @Test("Files that are open, dirty or only here go along, and end up at the new place alone")
    func openFiles() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let reader = try await mount.open("d/e/b")
        let dirty = try await mount.open("d/a", writes: true)
        try await mount.write(dirty, [255])
        let local = try await mount.create("d/f/new")
        try await mount.write(local, [1])
        try await mount.rename("d", "x")
        #expect(try await mount.read(reader, 0..<200) == pattern(200))
        try await mount.write(dirty, [254], at: 1)
        try await mount.close(dirty)
        try await mount.close(local)
        mount.fileSystem.release(reader)
        #expect(mount.remote.tree == Self.moved + ["x/f/new"])
        #expect(mount.remote.bytes(of: "x/a")?.prefix(3) == [255, 254, 2])
        #expect(mount.remote.bytes(of: "x/f/new") == [1])
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("A file made in it meanwhile waits, and is there at the new place")
    func createdMeanwhile() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let directory = try await mount.inode("d")
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("d", "x") }
        await hold.reached()
        let creating = Task.immediate {
            try await mount.fileSystem.create(
                directory,
                Array("new".utf8),
                mode: OpenMode(reads: true, writes: true),
                attributes: .init(),
                by: Mount.process
            ).1
        }
        hold.release()
        try await renaming.value
        let handle = try await creating.value
        try await mount.write(handle, [1])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "x/new") == [1])
    }

    @Test("Two directories that are moved into each other at once do not both go")
    func intoEachOther() async throws {
        let mount = try Mount()
        mount.remote.put("a/f", [1])
        mount.remote.put("b/f", [2])
        let hold = mount.remote.hold(.makeDirectory)
        let first = Task { try await mount.rename("a", "b/a") }
        await hold.reached()
        let second = Task.immediate { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("b", "a/b") }
        }
        hold.release()
        try await first.value
        #expect(await second.value == .invalidArgument)
        #expect(mount.remote.tree == ["b/", "b/a/", "b/a/f", "b/f"])
    }

    @Test("A subdirectory that the kernel forgets while its directory is renamed moves with it")
    func forgotten() async throws {
        let mount = try Mount()
        mount.remote.put("d/s/f", [1])
        // Replaced, so that the one directory that is made is the one below.
        mount.remote.makeDirectory("e")
        _ = try await mount.inode("d/s")
        let hold = mount.remote.hold(.makeDirectory)
        let renaming = Task { try await mount.rename("d", "e") }
        await hold.reached()
        mount.forgetAll()
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == ["e/", "e/s/", "e/s/f"])
    }

    @Test("Two directories that change places at once do not wait for each other")
    func besideEachOther() async throws {
        let mount = try Mount()
        for name in ["a/b/f", "c/d/f"] { mount.remote.put(name, [1]) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await mount.rename("a/b", "c/b") }
            group.addTask { try await mount.rename("c/d", "a/d") }
            try await group.waitForAll()
        }
        #expect(mount.remote.tree == ["a/", "a/d/", "a/d/f", "c/", "c/b/", "c/b/f"])
    }

    @Test("A file made in an empty directory while that is replaced is refused, or is there afterwards")
    func createdInTarget() async throws {
        let mount = try Mount()
        mount.remote.put("d/f", [1])
        mount.remote.makeDirectory("e")
        _ = try await mount.list("e")
        let target = try await mount.inode("e")
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("d", "e") }
        }
        await hold.reached()
        let creating = Task.immediate { () async -> (FileHandle?, FileSystemError?) in
            do throws(FileSystemError) {
                let mode = OpenMode(reads: true, writes: true)
                let made = try await mount.fileSystem.create(
                    target,
                    Array("new".utf8),
                    mode: mode,
                    attributes: .init(),
                    by: Mount.process
                )
                try await mount.write(made.1, [7])
                return (made.1, nil)
            } catch {
                return (nil, error)
            }
        }
        hold.release()
        let renamed = await renaming.value
        #expect(renamed == nil || renamed == .notEmpty)
        let (handle, refused) = await creating.value
        guard let handle else {
            #expect(refused == .noSuchFile)
            return
        }
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "e/new") == [7])
    }

    @Test("A file made in the half-made copy of a directory, which a listing shows, does not lose its place")
    func createdInCopy() async throws {
        let mount = try Mount()
        mount.remote.put("d/f", [1])
        _ = try await mount.list()
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("d", "e") }
        await hold.reached()
        mount.expire()
        var handle: FileHandle?
        do throws(FileSystemError) {
            let made = try await mount.create("e/new")
            handle = made
            try await mount.write(made, [7])
        } catch {
            #expect(error == .noSuchFile)
        }
        hold.release()
        try await renaming.value
        guard let handle else { return }
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "e/new") == [7])
    }

    @Test("What is made in a directory's copy before that is known to be one does not lose its place")
    func createdBeforeTheAnswer() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("d/f", [1])
        _ = try await mount.list()
        let hold = mount.remote.hold(.makeDirectory, .beforeAnswering)
        let renaming = Task { try await mount.rename("d", "e") }
        await hold.reached()
        mount.expire()
        let refused = await failure { () throws(FileSystemError) in try await mount.put("e/new", [7]) }
        hold.release()
        try await renaming.value
        _ = await mount.fileSystem.drain()
        #expect(refused == .noSuchFile || mount.remote.bytes(of: "e/new") == [7])
        #expect(mount.recovered.isEmpty)
    }

    @Test(
        "What waits below a directory that is renamed takes no place of uploads meanwhile, and goes up then"
    )
    func places() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("d/a", pattern(10))
        for number in 0..<UploadSchedule.capacity + 4 { try await mount.put("d/f-\(number)", pattern(10)) }
        try await mount.put("b", pattern(30))
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("d", "x") }
        await hold.reached()
        let draining = Task.immediate { await mount.fileSystem.drain() }
        #expect(await mount.comes { mount.remote.bytes(of: "b") != nil })
        hold.release()
        try await renaming.value
        #expect(await draining.value.isEmpty)
        #expect(mount.remote.tree.count { $0.hasPrefix("x/f-") } == UploadSchedule.capacity + 4)
    }
}
