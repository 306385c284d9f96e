import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Staging
@testable import VFS

@Suite("Renames of directories that are taken up, and fail again", .timeLimit(.minutes(5)))
struct RenameResumeTests {
    private func journal(_ mount: Mount) -> Journal { mount.fileSystem.staging.journal }

    /// Has the journal as a mount left it that died in the middle of the rename of a directory.
    private func note(
        _ mount: Mount,
        from: String,
        to: String,
        _ stage: Journal.Move.Stage,
        _ copied: [String: UInt64?]
    ) {
        let journal = self.journal(mount)
        let id = journal.addMove(.directory, from: path(from), to: path(to))
        for (name, size) in copied { journal.noteCopied(path(name), size: size, in: id) }
        journal.advanceMove(id, to: stage)
    }

    private func untilOver(_ mount: Mount) async throws {
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
    }

    @Test("What somebody has deleted at the new place since is not deleted at the old one")
    func deletedSince() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("d/b", pattern(20))
        mount.remote.put("x/b", pattern(20))
        self.note(mount, from: "d", to: "x", .deleting, ["x": nil, "x/a": 10, "x/b": 20])
        try await mount.fileSystem.recover()
        try await mount.fileSystem.begin(isReadOnly: false)
        try await self.untilOver(mount)
        #expect(mount.remote.bytes(of: "d/a") == pattern(10) && mount.remote.bytes(of: "d/b") == nil)
    }

    @Test(
        "A mount whose service cannot say where a directory is that was being renamed fails; the next goes on",
        arguments: [
            (.copying, 0), (.copying, 1), (.copying, 2), (.copying, 3), (.deleting, 0), (.deleting, 1),
        ] as [(Journal.Move.Stage, Int)]
    )
    func cannotBeTakenUp(stage: Journal.Move.Stage, skipping: Int) async throws {
        let mount = try Mount(timeToLive: .zero)
        mount.remote.put("p/d/a", pattern(10))
        mount.remote.put("q/x/a", pattern(10))
        self.note(mount, from: "p/d", to: "q/x", stage, ["q/x": nil, "q/x/a": 10])
        try await mount.fileSystem.recover()
        mount.faulty.fail(.list, with: .timedOut, skipping: skipping)
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.begin(isReadOnly: false)
            } == .remote(.timedOut)
        )
        #expect(try await self.journal(mount).moves().count == 1)
        try await mount.fileSystem.begin(isReadOnly: false)
        try await self.untilOver(mount)
        #expect(mount.remote.tree == ["p/", "q/", "q/x/", "q/x/a"])
    }

    @Test(
        "A copy is taken back whole although the attempt that failed for good saw little of it",
        arguments: [0, 2]
    )
    func takenBack(skipping: Int) async throws {
        let mount = try Mount()
        for name in ["a", "e/b"] {
            mount.remote.put("d/\(name)", pattern(10))
            mount.remote.put("x/\(name)", pattern(10))
        }
        mount.remote.put("d/c", pattern(10))
        self.note(mount, from: "d", to: "x", .copying, ["x": nil, "x/a": 10, "x/e": nil, "x/e/b": 10])
        _ = try await mount.list()
        mount.faulty.fail(.list, with: .forbidden, skipping: skipping)
        try await mount.fileSystem.begin(isReadOnly: false)
        try await self.untilOver(mount)
        #expect(mount.remote.tree == ["d/", "d/a", "d/c", "d/e/", "d/e/b"])
        #expect(try await mount.list() == ["d"])
        #expect(!mount.log.text.contains { $0.contains("taken back") })
    }

    @Test("A copy whose original is gone meanwhile is not taken back, and that is said")
    func onlyCopy() async throws {
        let mount = try Mount()
        mount.remote.put("d/b", pattern(20))
        mount.remote.put("x/a", pattern(10))
        self.note(mount, from: "d", to: "x", .copying, ["x": nil, "x/a": 10])
        mount.faulty.fail(.beginUpload, with: .forbidden)
        try await mount.fileSystem.begin(isReadOnly: false)
        try await self.untilOver(mount)
        #expect(mount.remote.tree == ["d/", "d/b", "x/", "x/a"])
        #expect(mount.log.text.contains { $0.contains("not all taken back") })
    }

    @Test("One that does not get on for longer than it may take is given up, and the copy taken back")
    func givenUp() async throws {
        var options = WriteOptions()
        options.persistence = .zero
        let mount = try Mount(writes: options)
        for name in ["d/a", "d/b", "x/a"] { mount.remote.put(name, pattern(10)) }
        self.note(mount, from: "d", to: "x", .copying, ["x": nil, "x/a": 10])
        mount.faulty.fail(.beginUpload, with: .unavailable("503"), count: .max)
        try await mount.fileSystem.begin(isReadOnly: false)
        try await self.untilOver(mount)
        #expect(mount.remote.tree == ["d/", "d/a", "d/b"])
    }

    @Test("Nobody who wants all to be uploaded waits for a rename that does not get on; it is not given up")
    func heldUp() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("d/a", pattern(10))
        try await mount.put("d/a", pattern(20))
        try await mount.put("b", pattern(30))
        self.note(mount, from: "d", to: "x", .copying, ["x": nil])
        mount.faulty.loseAnswer(.list, with: .unavailable("502"), count: .max)
        let hold = mount.remote.hold(.list)
        try await mount.fileSystem.begin(isReadOnly: false)
        await hold.reached()
        let draining = Task.immediate { await mount.fileSystem.drain() }
        hold.release()
        for unsent in [await draining.value, await mount.fileSystem.drain()] {
            #expect(unsent.map(\.place) == ["d/a"])
            #expect(unsent.map(\.error) == [.remote(.unavailable("502"))])
        }
        #expect(mount.remote.bytes(of: "b") == pattern(30))
        #expect(try await self.journal(mount).moves().count == 1)
        mount.faulty.heal()
        try await self.untilOver(mount)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["b", "x/", "x/a"])
        #expect(mount.remote.bytes(of: "x/a") == pattern(20))
    }

    @Test(
        "What waits below a directory whose rename does not get on takes no place from what waits elsewhere"
    )
    func heldUpPlaces() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.makeDirectory("d")
        let names = (0..<UploadSchedule.capacity + 4).map { "d/\($0)" }
        for name in names { try await mount.put(name, pattern(10)) }
        try await mount.put("b", pattern(30))
        self.note(mount, from: "d", to: "x", .copying, ["x": nil])
        mount.faulty.loseAnswer(.list, with: .unavailable("502"), count: .max)
        let hold = mount.remote.hold(.list)
        try await mount.fileSystem.begin(isReadOnly: false)
        await hold.reached()
        let draining = Task.immediate { await mount.fileSystem.drain() }
        #expect(await mount.comes { mount.remote.bytes(of: "b") != nil })
        hold.release()
        #expect(await draining.value.count == names.count)
        mount.faulty.heal()
        try await self.untilOver(mount)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree.count == names.count + 2)
    }
}
