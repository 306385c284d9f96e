import RemoteAPI
import TestKit
import Testing
import Transfers
import WireFormat

@testable import VFS

@Suite("Bytes that wait while others change the file", .timeLimit(.minutes(5)))
struct ConflictTests {
    /// A mount on which a file waits, temporary names being what waits longest.
    private func mount(_ choice: WriteOptions.OnConflict = .keepBoth) throws -> Mount {
        try Mount(
            writes: WriteOptions(mode: .writeBack, onConflict: choice, temporaryNames: TemporaryNames(["*"]))
        )
    }

    private func copies(_ mount: Mount, of name: String) -> [String] {
        mount.remote.tree.filter { $0.hasPrefix(name + ".conflict-") }
    }

    @Test("A file that others replaced stays theirs, and ours is uploaded beside it")
    func replaced() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        mount.remote.put("a", pattern(33))
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount, of: "a").first)
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(mount.remote.bytes(of: copy) == pattern(100))
        #expect(mount.remote.tree.count == 2)
        #expect(mount.log.text.contains { $0.contains(copy) })
        #expect(mount.fileSystem.uploadStatus.conflicts == [.init(path: "a", copy: copy)])
        #expect(try await mount.list() == ["a", copy])
        #expect(try await mount.get("a") == pattern(33))
        #expect(try await mount.get(copy) == pattern(100))
    }

    @Test("A file that others replaced while the parts of ours were on their way stays theirs, too")
    func replacedDuringUpload() async throws {
        let mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100), writes: .waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(350))
        let hold = mount.remote.hold(.putPart)
        let fileSystem = mount.fileSystem
        let sizes = mount.remote.count(.size)
        let draining = Task { await fileSystem.drain() }
        await hold.reached()
        await mount.remote.ended(.size, sizes + 1)
        mount.remote.put("a", pattern(33))
        hold.release()
        #expect(await draining.value.isEmpty)
        let copy = try #require(self.copies(mount, of: "a").first)
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(mount.remote.bytes(of: copy) == pattern(350))
    }

    @Test("A file that others made meanwhile stays theirs, and ours is uploaded beside it")
    func made() async throws {
        let mount = try self.mount()
        try await mount.put("a", pattern(100))
        mount.remote.put("a", pattern(100))
        // The listing by which the name was free is still believed by who looks.
        mount.clock.advance(by: FileSystem.standingAge)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(self.copies(mount, of: "a").count == 1)
        #expect(mount.remote.tree.count == 2)
    }

    @Test("A file that others made while a listing was on its way, which says so, stays theirs, too")
    func madeWhileListed() async throws {
        let mount = try self.mount()
        #expect(try await mount.list().isEmpty)
        let hold = mount.remote.hold(.list)
        let listing = Task { try await mount.fileSystem.namespace.refresh(.root) }
        await hold.reached()
        try await mount.put("a", pattern(100))
        mount.remote.put("a", pattern(100))
        hold.release()
        try await listing.value
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(self.copies(mount, of: "a").count == 1)
    }

    @Test("A file that is deleted and made again here, while a listing is on its way, is no conflict")
    func madeAgainWhileListed() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        #expect(try await mount.list() == ["a"])
        let hold = mount.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await mount.fileSystem.namespace.refresh(.root) }
        await hold.reached()
        try await mount.unlink("a")
        try await mount.put("a", pattern(100))
        hold.release()
        try await listing.value
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test(
        "A file that others made while ours was on its way stays theirs, if that took long or many parts",
        arguments: [true, false]
    )
    func madeDuringUpload(isLarge: Bool) async throws {
        let lanes = UploadLanes(maximumCount: 1, partSize: isLarge ? 100 : 1000)
        let mount = try Mount(lanes: lanes, writes: .waiting)
        try await mount.put("a", pattern(350))
        let hold = mount.remote.hold(.putPart)
        let fileSystem = mount.fileSystem
        let draining = Task { await fileSystem.drain() }
        await hold.reached()
        mount.remote.put("a", pattern(33))
        if !isLarge { mount.clock.advance(by: FileSystem.standingAge + .seconds(1)) }
        hold.release()
        #expect(await draining.value.isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(self.copies(mount, of: "a").count == 1)
    }

    @Test("Whether others made files of the names of many new ones costs one listing of their directory")
    func oneListing() async throws {
        let mount = try Mount(writes: .waiting)
        for number in 0..<200 { try await mount.put("f-\(number)", pattern(10)) }
        mount.clock.advance(by: FileSystem.standingAge)
        mount.remote.forgetCalls()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.count(.completeUpload) == 200)
        #expect(mount.remote.count(.list) == 1 && mount.remote.count(.size) == 0)
    }

    @Test("A new file in a directory of very many names costs a size, not a listing of them all")
    func wideDirectory() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.makeDirectory("wide")
        mount.remote.makeWideDirectory("d", count: 20_000)
        try await mount.put("d/a", pattern(10))
        try await mount.put("d/b", pattern(10))
        mount.clock.advance(by: FileSystem.standingAge)
        mount.remote.put("d/b", pattern(10))
        mount.remote.forgetCalls()
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount, of: "d/b").first)
        #expect(mount.remote.bytes(of: "d/a") == pattern(10))
        #expect(mount.remote.count(.list) == 0)
        // But for whether anything is there of the upload that was begun to the name which is another's.
        let sizes = mount.remote.calls.filter { $0.hasPrefix("size ") && !$0.contains(".UUU") }
        #expect(sizes.sorted() == ["size d/a", "size d/b", "size \(copy)"].sorted())
    }

    @Test("A file that others deleted does not come back under its name")
    func deleted() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        mount.remote.remove("a")
        #expect(await mount.fileSystem.drain().isEmpty)
        let copy = try #require(self.copies(mount, of: "a").first)
        #expect(mount.remote.tree == [copy])
        #expect(mount.remote.bytes(of: copy) == pattern(100))
    }

    @Test("The last writer wins where that was chosen, and asks nothing")
    func lastWriterWins() async throws {
        let mount = try self.mount(.lastWriterWins)
        mount.remote.put("a", pattern(10))
        #expect(try await mount.size("a") == 10)
        try await mount.put("a", pattern(100))
        mount.remote.put("a", pattern(33))
        mount.remote.forgetCalls()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(100))
        #expect(mount.remote.count(.size) == 0 && mount.remote.count(.list) == 0)
    }

    @Test("Writing over what this mount uploaded itself is no conflict")
    func ownVersions() async throws {
        let mount = try self.mount()
        for size in [10, 20, 5] {
            try await mount.put("a", pattern(size))
            #expect(await mount.fileSystem.drain().isEmpty)
        }
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(5))
    }

    @Test("An upload whose last answer was lost is no conflict with itself")
    func lostAnswer() async throws {
        let mount = try self.mount()
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        try await mount.put("a", pattern(100))
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test("An upload that failed before its end is no conflict with what is not there")
    func failedBegin() async throws {
        let mount = try self.mount()
        mount.faulty.fail(.beginUpload, with: .timedOut)
        try await mount.put("a", pattern(100))
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["a"])
    }

    @Test(
        "What was changed in the middle of a file that others replaced is kept for a person, and mixed with nothing"
    )
    func partial() async throws {
        for choice in WriteOptions.OnConflict.allCases {
            let mount = try self.mount(choice)
            mount.remote.put("a", pattern(200_000))
            let handle = try await mount.open("a", writes: true)
            try await mount.write(handle, [255], at: 1000)
            mount.remote.put("a", pattern(300_000))
            try await mount.close(handle)
            let unsent = await mount.fileSystem.drain()
            #expect(unsent.count == 1)
            #expect(mount.remote.bytes(of: "a") == pattern(300_000))
            #expect(mount.remote.tree == ["a"] && mount.recovered.count == 1)
            #expect(await mount.fileSystem.drain().isEmpty)
        }
    }

    @Test("Two conflicts of one name within a second get two names")
    func names() throws {
        let name = try #require(FileName("a"))
        #expect(FileSystem.conflictName(of: name, at: 0, 1).string == "a.conflict-19700101T000000")
        #expect(FileSystem.conflictName(of: name, at: 0, 2).string == "a.conflict-19700101T000000-2")
        let long = try #require(FileName(String(repeating: "ü", count: 127)))
        let copy = FileSystem.conflictName(of: long, at: 1_700_000_000, 12)
        #expect(copy.string.utf8.count <= 255 && copy.string.hasSuffix(".conflict-20231114T221320-12"))
    }

    @Test("A program that has the file open goes on with its own bytes, beside those of others")
    func openHandle() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        mount.remote.put("a", pattern(33))
        #expect(await mount.fileSystem.drain().isEmpty)
        try await mount.write(handle, [255], at: 50)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        var expected = pattern(100)
        expected[50] = 255
        let copy = try #require(self.copies(mount, of: "a").first)
        #expect(mount.remote.bytes(of: copy) == expected)
        #expect(mount.remote.bytes(of: "a") == pattern(33))
    }

    @Test("A rename over a file whose upload's last answer was lost is no conflict with that upload")
    func renamedOverLostAnswer() async throws {
        let mount = try self.mount()
        mount.remote.put("b", pattern(10))
        try await mount.put("b", pattern(100))
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        #expect(await mount.fileSystem.drain().count == 1)
        try await mount.put("t", pattern(30))
        try await mount.rename("t", "b")
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["b"] && mount.remote.bytes(of: "b") == pattern(30))
        #expect(mount.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test(
        "What an upload in doubt may have left under a file's old name excuses nobody's file under its new one"
    )
    func renamedInDoubt() async throws {
        let mount = try self.mount()
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.faulty.heal()
        // A listing shows that it is not there.
        mount.expire()
        #expect(try await mount.list() == ["a"])
        try await mount.rename("a", "b")
        mount.remote.put("b", pattern(100, from: 7))
        mount.clock.advance(by: FileSystem.standingAge)
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.bytes(of: "b") == pattern(100, from: 7))
        let copy = try #require(self.copies(mount, of: "b").first)
        #expect(mount.remote.bytes(of: copy) == pattern(100))
    }

    @Test(
        "A file that was deleted with the answer lost, and is written again, is no conflict",
        arguments: [false, true]
    )
    func lostDeletion(isInDoubt: Bool) async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(10))
        if isInDoubt {
            mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        } else {
            mount.faulty.fail(.beginUpload, with: .timedOut)
        }
        try await mount.put("a", pattern(100))
        #expect(await mount.fileSystem.drain().count == 1)
        mount.faulty.loseAnswer(.delete, with: .timedOut)
        #expect(await failure { () throws(FileSystemError) in try await mount.unlink("a") } != nil)
        try await mount.put("a", pattern(30))
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(30))
        #expect(mount.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test("Who opens a file whose bytes were given up is shown nothing of them")
    func pagesOfWhatWasGivenUp() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(300_000))
        let handle = try await mount.open("a", writes: true)
        #expect(try await mount.read(handle, 0..<10) == pattern(10))
        try await mount.write(handle, [255], at: 1000)
        mount.remote.put("a", pattern(400_000, from: 5))
        let error = await failure { () throws(FileSystemError) in try await mount.close(handle) }
        #expect(error == .changedOnServer)
        let mode = OpenMode(reads: true, writes: false)
        let inode = try await mount.inode("a")
        let (reader, keepsPages) = try await mount.fileSystem.open(inode, mode, by: Mount.process)
        #expect(!keepsPages)
        mount.fileSystem.release(reader)
        #expect(try await mount.get("a") == pattern(400_000, from: 5))
    }
}
