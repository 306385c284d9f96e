import RemoteAPI
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("What an earlier mount left to be uploaded", .timeLimit(.minutes(5)))
struct RecoveryTests {
    private static let waiting = WriteOptions.waiting
    private static let lastWriter = WriteOptions(
        mode: .writeBack,
        onConflict: .lastWriterWins,
        temporaryNames: TemporaryNames(["*"]),
        temporaryDelay: .seconds(3600)
    )

    @Test(
        "Closed files are in their places at once, and are uploaded",
        arguments: InMemoryRemote.Behaviour.allCases
    )
    func uploaded(behaviour: InMemoryRemote.Behaviour) async throws {
        var mount = try Mount(behaviour, writes: Self.waiting)
        mount.remote.put("old", pattern(10))
        mount.remote.makeDirectory("d/e")
        try await mount.put("old", pattern(100))
        try await mount.put("d/e/new", pattern(50))
        try await mount.put("d/moved.tmp", pattern(60))
        try await mount.rename("d/moved.tmp", "d/moved")
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(try await mount.list("d") == ["e", "moved"])
        #expect(try await mount.size("old") == 100)
        #expect(try await mount.get("d/e/new") == pattern(50))
        #expect(mount.remote.bytes(of: "d/e/new") == nil)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "old") == pattern(100))
        #expect(mount.remote.bytes(of: "d/e/new") == pattern(50))
        #expect(mount.remote.bytes(of: "d/moved") == pattern(60))
        #expect(mount.recovered.isEmpty && mount.staged.allSatisfy { !$0.hasPrefix("dirty-") })
    }

    @Test("They are uploaded by a mount that waits with each close, too, without anybody asking")
    func bySync() async throws {
        var mount = try Mount(writes: Self.waiting)
        try await mount.put("a", pattern(100))
        try await Mount.remount(&mount, writes: WriteOptions())
        try await mount.fileSystem.recover()
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test("What a close could not upload comes back as waiting, and what was deleted does not come back")
    func failedClose() async throws {
        var mount = try Mount()
        mount.faulty.fail(.beginUpload, with: .timedOut, count: .max)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.put("a", pattern(100)) }
                == .remote(.timedOut)
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.put("b", pattern(100)) } != nil
        )
        try await mount.unlink("b")
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test("A file that was open is kept and not uploaded")
    func open() async throws {
        var mount = try Mount(writes: Self.waiting)
        mount.remote.put("a", pattern(10))
        do {
            let handle = try await mount.open("a", writes: true, truncates: true)
            try await mount.write(handle, pattern(100))
        }
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(10))
        #expect(mount.recovered.count == 1)
    }

    @Test("What is here of a partly changed file is kept where the driver died as it had deleted the rest")
    func halfDeleted() async throws {
        let mount = try Mount(writes: Self.waiting)
        mount.remote.put("a", pattern(300_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [1])
        try await mount.close(handle)
        _ = handle.content.staged?.willLoseBase(isInDoubt: false)
        mount.remote.remove("a")
        let next = try await mount.killed()
        #expect(await next.fileSystem.drain().isEmpty)
        #expect(next.remote.tree.isEmpty && next.recovered.count == 1)
        #expect(try await !next.exists("a"))
    }

    @Test("Our own upload whose last answer was lost is no conflict with what was written after it")
    func ownCompletion() async throws {
        var mount = try Mount(writes: Self.waiting)
        mount.remote.put("old", pattern(10))
        for name in ["old", "new"] { try await mount.put(name, pattern(100)) }
        mount.faulty.loseAnswer(.completeUpload, with: .forbidden, count: 2)
        #expect(await mount.fileSystem.drain().count == 2)
        #expect(mount.remote.bytes(of: "new") == pattern(100))
        for name in ["old", "new"] {
            // Told once; the bytes wait all the same.
            let told = await failure { () throws(FileSystemError) in try await mount.put(name, [7]) }
            #expect(told == .remote(.forbidden))
        }
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["new", "old"])
        #expect(mount.remote.bytes(of: "old") == [7] && mount.remote.bytes(of: "new") == [7])
    }

    @Test("What was uploaded is no conflict with itself if the power failed before the journal kept that")
    func powerFailure() async throws {
        let mount = try Mount(writes: Self.waiting)
        mount.remote.put("old", pattern(10))
        for name in ["new", "old"] { try await mount.put(name, pattern(100)) }
        let left = try mount.directory.copy()
        #expect(await mount.fileSystem.drain().isEmpty)
        let next = try Mount(writes: Self.waiting, over: mount.remote, in: left, boot: "next")
        try await next.fileSystem.recover()
        #expect(await next.fileSystem.drain().isEmpty)
        #expect(next.remote.tree == ["new", "old"] && next.remote.bytes(of: "old") == pattern(100))
        #expect(next.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test("What others made of a file before a power failure stays theirs after it")
    func powerFailureAndConflict() async throws {
        let mount = try Mount(writes: Self.waiting)
        mount.remote.put("old", pattern(10))
        try await mount.put("old", pattern(100))
        mount.remote.put("old", pattern(33))
        let left = try mount.directory.copy()
        let next = try Mount(writes: Self.waiting, over: mount.remote, in: left, boot: "next")
        try await next.fileSystem.recover()
        #expect(await next.fileSystem.drain().isEmpty)
        #expect(next.remote.bytes(of: "old") == pattern(33) && next.remote.tree.count == 2)
    }

    @Test("What a close could not upload comes back over nothing that took its name, also if the power fails")
    func powerFailureAfterRenameOver() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10, from: 7))
        mount.remote.put("b", pattern(10))
        _ = try await mount.size("b")
        mount.faulty.fail(.beginUpload, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.put("b", pattern(30)) }
                == .remote(.timedOut)
        )
        let hold = mount.remote.hold(.delete)
        let count = mount.fileSystem.staging.journal.syncedCommitCount
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        #expect(mount.fileSystem.staging.journal.syncedCommitCount > count)
        hold.release()
        try await renaming.value
    }

    @Test("The old name of a promised file goes only once no power failure brings its bytes back to it")
    func powerFailureInRename() async throws {
        let mount = try Mount(writes: Self.waiting)
        mount.remote.put("a", pattern(10))
        try await mount.put("a", pattern(100))
        let journal = mount.fileSystem.staging.journal
        let before = journal.syncedCommitCount
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("a", "b") }
        await hold.reached()
        #expect(journal.syncedCommitCount > before)
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == ["b"])
    }

    @Test("What was uploaded goes from its name only once no power failure brings it back there")
    func powerFailureAfterUpload() async throws {
        let mount = try Mount(writes: Self.waiting)
        for name in ["a", "b", "c", "d"] { try await mount.put(name, pattern(100)) }
        #expect(await mount.fileSystem.drain().isEmpty)
        let journal = mount.fileSystem.staging.journal
        let before = journal.syncedCommitCount
        try await mount.unlink("a")
        #expect(journal.syncedCommitCount == before + 1)
        // One is enough for all that was uploaded before it.
        try await mount.unlink("b")
        #expect(journal.syncedCommitCount == before + 1)
        try await mount.put("c", pattern(200))
        #expect(await mount.fileSystem.drain().isEmpty)
        let last = journal.syncedCommitCount
        let hold = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("d", "c") }
        await hold.reached()
        #expect(journal.syncedCommitCount == last + 1)
        hold.release()
        try await renaming.value
        #expect(mount.remote.tree == ["c"])
    }

    @Test("A file that others changed meanwhile stays theirs, or ours wins where that was chosen")
    func conflict() async throws {
        for writes in [Self.waiting, Self.lastWriter] {
            var mount = try Mount(writes: writes)
            mount.remote.put("a", pattern(10))
            try await mount.put("a", pattern(100))
            try await Mount.remount(&mount)
            mount.remote.put("a", pattern(33))
            try await mount.fileSystem.recover()
            #expect(await mount.fileSystem.drain().isEmpty)
            if writes.onConflict == .lastWriterWins {
                #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(100))
            } else {
                let copy = try #require(mount.remote.tree.first { $0.hasPrefix("a.conflict-") })
                #expect(mount.remote.bytes(of: "a") == pattern(33))
                #expect(mount.remote.bytes(of: copy) == pattern(100))
            }
        }
    }

    @Test("A file that others made, deleted, or made a directory of meanwhile costs nobody's bytes")
    func otherConflicts() async throws {
        var mount = try Mount(writes: Self.waiting)
        mount.remote.put("deleted", pattern(10))
        try await mount.put("deleted", pattern(1))
        try await mount.put("made", pattern(2))
        try await mount.put("directory", pattern(3))
        try await Mount.remount(&mount)
        mount.remote.remove("deleted")
        mount.remote.put("made", pattern(20))
        mount.remote.makeDirectory("directory")
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        let tree = mount.remote.tree
        for (name, size) in [("deleted", 1), ("made", 2), ("directory", 3)] {
            let copy = try #require(tree.first { $0.hasPrefix("\(name).conflict-") })
            #expect(mount.remote.bytes(of: copy) == pattern(size))
        }
        #expect(tree.count == 5 && mount.remote.bytes(of: "made") == pattern(20))
    }

    @Test("A file whose directory is gone is kept")
    func directoryGone() async throws {
        var mount = try Mount(writes: Self.waiting)
        mount.remote.makeDirectory("d")
        try await mount.put("d/a", pattern(100))
        try await Mount.remount(&mount)
        mount.remote.remove("d")
        try await mount.fileSystem.recover()
        #expect(mount.fileSystem.unsent.fileCount == 0 && mount.remote.tree.isEmpty)
        let kept = try #require(mount.recovered.first)
        #expect(mount.directory.bytes(of: "cache/f-1/recovered/\(kept)") == pattern(100))
    }

    @Test("If the service cannot be asked, nothing is lost, and the next mount takes it up")
    func serviceAway() async throws {
        var mount = try Mount(writes: Self.waiting)
        try await mount.put("a", pattern(100))
        try await Mount.remount(&mount)
        mount.faulty.fail(.list, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.fileSystem.recover() }
                == .remote(.timedOut)
        )
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test("A file changed in its middle comes back whole, with what the service has of it")
    func partial() async throws {
        var mount = try Mount(writes: Self.waiting)
        mount.remote.put("a", pattern(200_000))
        do {
            let handle = try await mount.open("a", writes: true)
            try await mount.write(handle, [255], at: 1000)
            try await mount.close(handle)
        }
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        var expected = pattern(200_000)
        expected[1000] = 255
        #expect(try await mount.get("a") == expected)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("The sizes of many files are asked for side by side, 64 at most")
    func manySizes() async throws {
        var mount = try Mount(writes: Self.waiting)
        for number in 0..<200 { mount.remote.put("f-\(number)", pattern(10)) }
        for number in 0..<200 { try await mount.put("f-\(number)", pattern(20)) }
        try await Mount.remount(&mount)
        mount.remote.forgetCalls()
        let hold = mount.remote.hold(.size)
        let (remote, fileSystem) = (mount.remote, mount.fileSystem)
        let recovery = Task { try await fileSystem.recover() }
        while remote.inFlightMaximum(.size) < 64 { await Task.yield() }
        hold.release()
        try await recovery.value
        #expect(mount.remote.count(.size) == 200 && mount.remote.count(.list) == 1)
        #expect(mount.remote.inFlightMaximum(.size) == 64)
        #expect(await mount.fileSystem.drain().isEmpty)
    }
}
