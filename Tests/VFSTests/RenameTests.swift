import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Renaming files: never neither of the two names", .timeLimit(.minutes(5)))
struct RenameTests {
    @Test("The new name is whole before the old one is deleted")
    func order() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        mount.remote.put("b", [9])
        _ = try await mount.list()
        mount.remote.forgetCalls()
        try await mount.rename("a", "b")
        #expect(
            mount.remote.calls == [
                "size a", "begin b 1000", "put b 0-1000", "read a 0-1000", "complete b", "delete a",
            ]
        )
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == pattern(1000))
    }

    @Test(
        "Whatever fails on the way leaves the old name with its bytes, and the name to be replaced too",
        arguments: [.size, .beginUpload, .read, .putPart, .completeUpload] as [CallKind]
    )
    func failing(kind: CallKind) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        mount.remote.put("b", [9])
        _ = try await mount.list()
        mount.faulty.fail(kind, with: .unavailable("x"), count: 9)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.unavailable("x"))
        )
        mount.faulty.heal()
        #expect(mount.remote.bytes(of: "a") == pattern(1000))
        #expect(mount.remote.bytes(of: "b") == [9])
        #expect(try await mount.get("a") == pattern(1000))
        #expect(try await mount.get("b") == [9])
    }

    @Test("A deletion that fails leaves both names, both of them seen")
    func failingDeletion() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        _ = try await mount.list()
        mount.faulty.fail(.delete, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.timedOut)
        )
        #expect(mount.remote.tree == ["a", "b"])
        #expect(try await mount.get("a") == pattern(1000))
        #expect(try await mount.get("b") == pattern(1000))
    }

    @Test("The old name is deleted also if its directory was being listed when the new one took its place")
    func listedMeanwhile() async throws {
        let mount = try Mount(timeToLive: .zero)
        mount.remote.put("d/a", pattern(1000))
        mount.remote.makeDirectory("e")
        let directory = try await mount.inode("d")
        let completing = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("d/a", "e/b") }
        await completing.reached()
        let listing = mount.remote.hold(.list, .beforeAnswering)
        let looking = Task { try await mount.fileSystem.namespace.refresh(directory) }
        await listing.reached()
        completing.release()
        // So that the deletion comes to join that listing, if it does.
        await mount.remote.ended(.completeUpload)
        for _ in 0..<1000 { await Task.yield() }
        listing.release()
        try await looking.value
        try await renaming.value
        #expect(mount.remote.tree == ["d/", "e/", "e/b"])
    }

    @Test("An old name that is gone by itself is no failure, and the new one is there with its handles")
    func goneAlready() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        let handle = try await mount.open("a", writes: true)
        mount.faulty.fail(.delete, with: .notFound)
        try await mount.rename("a", "b")
        #expect(try await mount.get("b") == pattern(1000))
        try await mount.write(handle, [255])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "b")?.first == 255)
    }

    @Test("An open file goes on under its new name: reads, writes and the close")
    func open() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        let handle = try await mount.open("a", writes: true)
        try await mount.rename("a", "b")
        #expect(try await mount.read(handle, 0..<10) == pattern(10))
        try await mount.write(handle, [255], at: 3)
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b")?.prefix(5) == [0, 1, 2, 255, 4])
    }

    @Test("A dirty file goes to its new name with what was written")
    func dirty() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 3)
        try await mount.rename("a", "b")
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == [0, 1, 2, 255, 4, 5, 6, 7, 8, 9])
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("A file that is only here moves without a request, and is uploaded where it is then")
    func localOnly() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        mount.remote.forgetCalls()
        try await mount.rename("a", "b")
        #expect(mount.remote.calls.isEmpty)
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
    }

    @Test(
        "A file that is only here and takes the place of one on the service leaves that one until its upload"
    )
    func localOnlyOver() async throws {
        let mount = try Mount()
        mount.remote.put("b", [9])
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        try await mount.rename("a", "b")
        #expect(mount.remote.bytes(of: "b") == [9])
        #expect(try await mount.get("b") == [1])
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == [1])
        // What is there now may have the new size already: it proves nothing.
        #expect(mount.remote.previousSizes == [1])
    }

    @Test("What an editor does, write beside and rename over, replaces the file at once and whole")
    func saveOver() async throws {
        let mount = try Mount()
        mount.remote.put("doc", pattern(100))
        #expect(try await mount.get("doc") == pattern(100))
        for round in 1...3 {
            try await mount.put("doc.tmp", pattern(100 + round, from: round))
            try await mount.rename("doc.tmp", "doc")
            #expect(mount.remote.tree == ["doc"])
            #expect(try await mount.get("doc") == pattern(100 + round, from: round))
        }
    }

    @Test("Who has the replaced file open goes on reading its old bytes")
    func replacedOpen() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        mount.remote.put("b", pattern(100, from: 50))
        let handle = try await mount.open("b")
        try await mount.rename("a", "b")
        #expect(try await mount.read(handle, 0..<100) == pattern(100, from: 50))
        #expect(try await mount.get("b") == pattern(100))
        mount.fileSystem.release(handle)
        #expect(mount.remote.bytes(of: "b") == pattern(100))
    }

    @Test("Unsent bytes of a replaced file are not uploaded over the new one")
    func replacedDirty() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.create("b")
        try await mount.write(handle, [1])
        try await mount.rename("a", "b")
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == pattern(100))
        #expect(mount.recovered.isEmpty)
    }

    @Test("Unsent bytes of a replaced file are nobody's any more, also if the old name cannot be deleted")
    func replacedDirtyAndFailing() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        mount.faulty.fail(.putPart, with: .timedOut)
        #expect(await failure { () throws(FileSystemError) in try await mount.put("b", [1]) } != nil)
        mount.faulty.fail(.delete, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.timedOut)
        )
        #expect(try await mount.get("b") == pattern(100))
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.recovered.isEmpty)
        #expect(mount.remote.bytes(of: "b") == pattern(100))
    }

    @Test("RENAME_NOREPLACE replaces nothing, and a rename onto itself does nothing")
    func noReplace() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        mount.remote.put("b", [2])
        _ = try await mount.list()
        mount.remote.forgetCalls()
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.rename("a", "b", replaces: false)
            } == .exists
        )
        try await mount.rename("a", "a")
        #expect(mount.remote.calls.isEmpty)
    }

    @Test("A file does not replace a directory, nor a directory a file, and what is not there is not renamed")
    func kinds() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        mount.remote.makeDirectory("d")
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "d") } == .isDirectory
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("d", "a") } == .notDirectory
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("x", "y") } == .noSuchFile
        )
        #expect(mount.remote.tree == ["a", "d/"])
    }

    @Test("A file that is written to while it is copied is copied whole, with what was written")
    func writtenMeanwhile() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        let hold = mount.remote.hold(.putPart)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        try await mount.write(handle, [255], at: 50)
        hold.release()
        try await renaming.value
        try await mount.close(handle)
        var expected = pattern(100)
        expected[50] = 255
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == expected)
    }

    @Test("The lookup of either name while a rename runs waits for nothing and finds one of them at least")
    func seenMeanwhile() async throws {
        let mount = try Mount()
        try await mount.put("a", pattern(100))
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        let isOldThere = try await mount.exists("a")
        let isNewThere = try await mount.exists("b")
        #expect(isOldThere || isNewThere)
        hold.release()
        try await renaming.value
        #expect(try await !mount.exists("a"))
        #expect(try await mount.exists("b"))
    }

    @Test("Nobody sees the old name while it is deleted, whatever is listed", arguments: [true, false])
    func goneBefore(isListed: Bool) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        _ = try await mount.get("a")
        let copied = mount.remote.hold(.completeUpload)
        let deleted = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("a", "b") }
        await copied.reached()
        if !isListed { mount.expire() }
        copied.release()
        await deleted.reached()
        mount.expire()
        #expect(try await !mount.exists("a"))
        deleted.release()
        try await renaming.value
        try await mount.put("a", pattern(30))
        #expect(mount.remote.tree == ["a", "b"] && mount.remote.bytes(of: "b") == pattern(100))
    }

    @Test("What became a directory behind our back is not deleted under the old name")
    func becameDirectory() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        _ = try await mount.get("a")
        let hold = mount.remote.hold(.putPart)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
        }
        await hold.reached()
        mount.remote.remove("a")
        mount.remote.put("a/precious", [7])
        mount.expire()
        hold.release()
        // The file has its new name; what has the old one now is another's.
        #expect(await renaming.value == nil)
        #expect(mount.remote.bytes(of: "b") == [1])
        #expect(mount.remote.bytes(of: "a/precious") == [7])
        #expect(mount.remote.count(.delete) == 0)
    }

    @Test(
        "What was written to a file whose directory vanished while it was renamed is at its new place, and only there"
    )
    func vanishedDirectory() async throws {
        let mount = try Mount()
        try await mount.mkdir("d")
        try await mount.put("d/a", pattern(100))
        let handle = try await mount.open("d/a", writes: true)
        try await mount.write(handle, [255])
        let hold = mount.remote.hold(.putPart)
        let renaming = Task { try await mount.rename("d/a", "b") }
        await hold.reached()
        mount.remote.remove("d")
        mount.expire()
        #expect(try await !mount.exists("d"))
        hold.release()
        try await renaming.value
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "b")?.first == 255)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.recovered.isEmpty)
    }
}
