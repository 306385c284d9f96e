import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Staging
@testable import VFS

@Suite("Renames in the journal, which the next mount takes up", .timeLimit(.minutes(5)))
struct RenameJournalTests {
    private func journal(_ mount: Mount) -> Journal { mount.fileSystem.staging.journal }

    private func failsToRename(_ old: String, _ new: String, _ mount: Mount) async -> FileSystemError? {
        await failure { () throws(FileSystemError) in try await mount.rename(old, new) }
    }

    // MARK: What is noted

    @Test("A file's rename is in the journal before it is completed, with both sizes, and not after it")
    func noted() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1000))
        mount.remote.put("b", [9])
        _ = try await mount.size("b")
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        let move = try #require(try await self.journal(mount).moves().first)
        #expect(move.kind == .file && move.stage == .copying)
        #expect(move.source == path("a") && move.target == path("b"))
        #expect(move.copied == [path("a"): 1000, path("b"): 1000])
        hold.release()
        try await renaming.value
        #expect(try await self.journal(mount).moves().isEmpty)
    }

    @Test("The size of the new name is no proof where it replaces a file as long")
    func notedAsLong() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(10, from: 7))
        _ = try await mount.size("b")
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        #expect(try await self.journal(mount).moves().first?.copied == [path("a"): 10])
        hold.release()
        try await renaming.value
    }

    @Test("A rename that failed is in the journal no more", arguments: [CallKind.completeUpload, .delete])
    func failed(kind: CallKind) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("d/a", pattern(10))
        mount.faulty.fail(kind, with: .timedOut, count: 9)
        #expect(await self.failsToRename("a", "b", mount) == .remote(.timedOut))
        #expect(try await self.journal(mount).moves().isEmpty)
        #expect(await self.failsToRename("d", "e", mount) == .remote(.timedOut))
        #expect(try await self.journal(mount).moves().isEmpty)
    }

    @Test("A directory's rename is in the journal with what was copied, and a person is told how far it is")
    func notedDirectory() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("d/e/b", pattern(20))
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("d", "x") }
        await hold.reached()
        let move = try #require(try await self.journal(mount).moves().first)
        #expect(move.kind == .directory && move.stage == .deleting)
        #expect(move.copied == [path("x"): nil, path("x/a"): 10, path("x/e"): nil, path("x/e/b"): 20])
        let told = mount.fileSystem.renames.withLock { Array($0.values) }
        #expect(told == ["d to x: deleting at the old place, 0 of 2 files, 0 of 30 bytes"])
        hold.release()
        try await renaming.value
        #expect(try await self.journal(mount).moves().isEmpty)
        #expect(mount.fileSystem.renames.withLock { $0.isEmpty })
    }

    @Test("Nothing is deleted at the old place before no power failure takes what waits below it back there")
    func committed() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("d/a", pattern(10))
        try await mount.put("d/f", pattern(20))
        let hold = mount.remote.hold(.delete)
        let copied = mount.remote.hold(.completeUpload, .beforeAnswering)
        let renaming = Task { try await mount.rename("d", "x") }
        await copied.reached()
        let count = self.journal(mount).syncedCommitCount
        copied.release()
        await hold.reached()
        #expect(self.journal(mount).syncedCommitCount > count)
        #expect(try await self.journal(mount).records().map(\.path) == [path("x/f")])
        hold.release()
        try await renaming.value
    }

    // MARK: How much is moved

    @Test(
        "A directory with more bytes than are moved is left as it is, and no more sizes than needed are asked for"
    )
    func limit() async throws {
        let mount = try Mount(writes: WriteOptions(renameLimit: 1000))
        for index in 0..<200 { mount.remote.put("d/\(index)", pattern(100)) }
        mount.remote.put("e/a", pattern(1000))
        #expect(await self.failsToRename("d", "x", mount) == .crossesDevices)
        #expect(mount.remote.count(.size) <= 64)
        #expect(mount.remote.count(.makeDirectory) == 0)
        #expect(mount.remote.count(.beginUpload) == 0)
        try await mount.rename("e", "y")
        #expect(mount.remote.bytes(of: "y/a") == pattern(1000))
    }

    // MARK: What is taken up

    /// Has the journal as a mount left it that died in the middle of a rename, and takes that up.
    private func resume(
        _ mount: Mount,
        _ kind: Journal.Move.Kind,
        from: String,
        to: String,
        _ stage: Journal.Move.Stage,
        _ copied: [String: UInt64?]
    ) async throws {
        let journal = self.journal(mount)
        let id = journal.addMove(kind, from: path(from), to: path(to))
        for (name, size) in copied { journal.noteCopied(path(name), size: size, in: id) }
        journal.advanceMove(id, to: stage)
        try await mount.fileSystem.begin(isReadOnly: false)
    }

    @Test(
        "The old name of a file goes if the new one is whole",
        arguments: [Journal.Move.Stage.copying, .deleting]
    )
    func finish(stage: Journal.Move.Stage) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(12))
        try await self.resume(mount, .file, from: "a", to: "b", stage, ["a": 10, "b": 12])
        #expect(mount.remote.tree == ["b"])
        #expect(try await mount.list() == ["b"])
        #expect(try await self.journal(mount).moves().isEmpty)
    }

    @Test(
        "Both names stay if the new one is of another size, nothing proves it, or the old one was written to",
        arguments: [["a": 10, "b": 13], ["a": 10], ["a": 11, "b": 12], ["b": 12]] as [[String: UInt64?]]
    )
    func leave(copied: [String: UInt64?]) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(12))
        try await self.resume(mount, .file, from: "a", to: "b", .copying, copied)
        #expect(mount.remote.tree == ["a", "b"])
        #expect(mount.remote.count(.delete) == 0)
        #expect(try await self.journal(mount).moves().isEmpty)
    }

    @Test("What a service in trouble does not let be finished is left, and said")
    func trouble() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(10))
        mount.faulty.fail(.list, with: .unavailable("x"), count: 9)
        try await self.resume(mount, .file, from: "a", to: "b", .deleting, ["a": 10])
        mount.faulty.heal()
        #expect(mount.remote.tree == ["a", "b"])
        #expect(try await self.journal(mount).moves().isEmpty)
        #expect(mount.log.text.contains { $0.contains("both names may be there") })
    }

    @Test("A directory is copied on where that was interrupted, and then deleted; nobody is let in between")
    func copyOn() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("d/e/b", pattern(20))
        mount.remote.put("x/a", pattern(10))
        let hold = mount.remote.hold(.completeUpload)
        try await self.resume(mount, .directory, from: "d", to: "x", .copying, ["x": nil, "x/a": 10])
        await hold.reached()
        #expect(try await mount.list() == ["d"])
        let entering = Task { try await mount.mkdir("d/new") }
        hold.release()
        _ = try? await entering.value
        await mount.remote.ended(.delete, 4)
        #expect(mount.remote.calls.filter { $0.hasPrefix("begin") } == ["begin x/e/b 20"])
        mount.expire()
        #expect(try await mount.list() == ["x"])
        #expect(mount.remote.bytes(of: "x/e/b") == pattern(20))
        #expect(mount.remote.bytes(of: "d/a") == nil)
    }

    @Test(
        "A file that has another size than when it was copied is copied again, and one that is not there too"
    )
    func copyAgain() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(11))
        mount.remote.put("d/b", pattern(20))
        mount.remote.put("x/a", pattern(10))
        let copied: [String: UInt64?] = ["x": nil, "x/a": 10, "x/b": 20]
        try await self.resume(mount, .directory, from: "d", to: "x", .copying, copied)
        await mount.remote.ended(.delete, 3)
        #expect(mount.remote.tree == ["x/", "x/a", "x/b"])
        #expect(mount.remote.bytes(of: "x/a") == pattern(11))
        #expect(mount.remote.bytes(of: "x/b") == pattern(20))
    }

    /// Has the journal as a mount left it that was killed while it renamed `d` to `x`: `a` was copied, and then written
    /// to, and closed.
    private func writtenBehindItsCopy() async throws -> Mount {
        let mount = try Mount(writes: WriteOptions(mode: .writeBack))
        mount.remote.put("d/a", pattern(100))
        mount.remote.put("x/a", pattern(100))
        let journal = self.journal(mount)
        let id = journal.addMove(.directory, from: path("d"), to: path("x"))
        journal.noteCopied(path("x"), size: nil, in: id)
        journal.noteCopied(path("x/a"), size: 100, in: id)
        mount.faulty.fail(.beginUpload, with: .timedOut, count: .max)
        let handle = try await mount.open("d/a", writes: true)
        try await mount.write(handle, pattern(100, from: 7))
        try await mount.close(handle)
        return mount
    }

    @Test(
        "A file that was written to after it was copied is copied again, also if its upload comes first"
    )
    func writtenAfterCopy() async throws {
        var mount = try await self.writtenBehindItsCopy()
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "d/a") == pattern(100, from: 7))
        try await mount.fileSystem.begin(isReadOnly: false)
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
        #expect(mount.remote.tree == ["x/", "x/a"])
        #expect(mount.remote.bytes(of: "x/a") == pattern(100, from: 7))
    }

    @Test(
        "A file that was written to after it was copied is copied again by the mount after the next one, too"
    )
    func writtenAfterCopyAndTwoCrashes() async throws {
        var mount = try await self.writtenBehindItsCopy()
        for _ in 0..<2 {
            try await Mount.remount(&mount)
            try await mount.fileSystem.recover()
            await mount.waitUntilUploaded()
        }
        try await mount.fileSystem.begin(isReadOnly: false)
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
        #expect(mount.remote.bytes(of: "x/a") == pattern(100, from: 7))
    }

    @Test(
        "A file that is written to while its directory's rename goes on is copied again after another crash"
    )
    func writtenWhileResumed() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("d/a", pattern(100))
        mount.remote.put("x/a", pattern(100))
        let handle = try await mount.open("d/a", writes: true)
        try await mount.write(handle, pattern(100, from: 7))
        try await mount.close(handle)
        let hold = mount.remote.hold(.completeUpload, .beforeAnswering)
        try await self.resume(mount, .directory, from: "d", to: "x", .copying, ["x": nil, "x/a": 100])
        await hold.reached()
        #expect(try await self.journal(mount).moves().first?.copied == [path("x"): nil])
        hold.release()
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
        #expect(mount.remote.bytes(of: "x/a") == pattern(100, from: 7))
    }

    @Test(
        "A directory's rename that is taken up goes on after the service failed once more",
        arguments: [CallKind.list, .makeDirectory, .size, .beginUpload, .completeUpload, .delete]
    )
    func failsOnceMore(kind: CallKind) async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("d/e/b", pattern(20))
        mount.remote.put("x/a", pattern(10))
        // That answers what is asked before the directories are held.
        _ = try await mount.list()
        mount.faulty.fail(kind, with: .unavailable("502"))
        try await self.resume(mount, .directory, from: "d", to: "x", .copying, ["x": nil, "x/a": 10])
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
        #expect(mount.remote.tree == ["x/", "x/a", "x/e/", "x/e/b"])
        #expect(!mount.remote.calls.contains("begin x/a 10"))
        #expect(mount.log.text.contains { $0.contains("held up") })
    }

    @Test("Of a copied directory only what was copied, and has still its size, is deleted at the old place")
    func deleteOn() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("d/b", pattern(21))
        mount.remote.put("d/theirs", pattern(30))
        mount.remote.put("x/a", pattern(10))
        mount.remote.put("x/b", pattern(20))
        let copied: [String: UInt64?] = ["x": nil, "x/a": 10, "x/b": 20]
        try await self.resume(mount, .directory, from: "d", to: "x", .deleting, copied)
        while try await !self.journal(mount).moves().isEmpty { await Task.yield() }
        #expect(mount.remote.tree == ["d/", "d/b", "d/theirs", "x/", "x/a", "x/b"])
    }

    @Test("A mount that changes nothing leaves a rename to one that may")
    func readOnly() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(10))
        let id = self.journal(mount).addMove(.file, from: path("a"), to: path("b"))
        self.journal(mount).noteCopied(path("a"), size: 10, in: id)
        self.journal(mount).advanceMove(id, to: .deleting)
        try await mount.fileSystem.begin(isReadOnly: true)
        #expect(mount.remote.tree == ["a", "b"])
        #expect(try await self.journal(mount).moves().count == 1)
    }
}
