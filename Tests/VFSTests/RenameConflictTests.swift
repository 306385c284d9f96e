import Inodes
import RemoteAPI
import TestKit
import Testing
import Transfers
import WireFormat

@testable import Staging
@testable import VFS

@Suite("Renames of files that others change meanwhile", .timeLimit(.minutes(5)))
struct RenameConflictTests {
    private func change(_ mount: Mount, _ name: String) async throws -> FileHandle {
        let handle = try await mount.open(name, writes: true)
        try await mount.write(handle, [255], at: 1000)
        return handle
    }

    @Test("A name that an upload found to be somebody else's file is not moved by who waited for that upload")
    func setAside() async throws {
        let mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100), writes: .waiting)
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(20))
        try await mount.put("a", pattern(350))
        try await mount.put("b", pattern(60))
        mount.remote.put("a", pattern(33))
        let hold = mount.remote.hold(.putPart)
        let sizes = mount.remote.count(.size)
        let fileSystem = mount.fileSystem
        let draining = Task { await fileSystem.drain() }
        await hold.reached()
        await mount.remote.ended(.size, sizes + 1)
        let renaming = Task.immediate {
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
        }
        hold.release()
        let error = await renaming.value
        _ = await draining.value
        for _ in 0..<10 where !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.bytes(of: "a") == pattern(33))
        #expect(mount.remote.bytes(of: "b") == (error == nil ? pattern(350) : pattern(60)))
        #expect(mount.remote.tree.contains { mount.remote.bytes(of: $0) == pattern(350) })
    }

    @Test(
        "A name that an upload found to be somebody else's is not deleted or replaced by who waited for that upload",
        arguments: [true, false]
    )
    func setAsideTarget(isDeleted: Bool) async throws {
        let mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100), writes: .waiting)
        mount.remote.put("a", pattern(10))
        mount.remote.put("b", pattern(20))
        try await mount.put("a", pattern(350))
        mount.remote.put("a", pattern(33))
        let hold = mount.remote.hold(.putPart)
        let sizes = mount.remote.count(.size)
        let fileSystem = mount.fileSystem
        let draining = Task { await fileSystem.drain() }
        await hold.reached()
        await mount.remote.ended(.size, sizes + 1)
        let changing = Task.immediate {
            await failure { () throws(FileSystemError) in
                if isDeleted { try await mount.unlink("a") } else { try await mount.rename("b", "a") }
            }
        }
        hold.release()
        #expect(await changing.value == .changedOnServer)
        _ = await draining.value
        for _ in 0..<10 where !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.bytes(of: "a") == pattern(33) && mount.remote.bytes(of: "b") == pattern(20))
        #expect(mount.remote.tree.contains { mount.remote.bytes(of: $0) == pattern(350) })
    }

    @Test(
        "A partly changed file that others deleted takes nobody's place, and is mixed with nothing",
        arguments: WriteOptions.Mode.allCases
    )
    func deleted(mode: WriteOptions.Mode) async throws {
        let mount = try Mount(writes: WriteOptions(mode: mode))
        mount.remote.put("f", pattern(200_000))
        mount.remote.put("g", pattern(300_000, from: 7))
        let handle = try await self.change(mount, "f")
        mount.remote.remove("f")
        mount.expire()
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("f", "g") } != nil
        )
        try? await mount.close(handle)
        _ = await mount.fileSystem.drain()
        #expect(mount.remote.bytes(of: "g") == pattern(300_000, from: 7))
    }

    @Test("A partly changed file that others replaced is not put together from both under its new name")
    func mixed() async throws {
        let mount = try Mount()
        mount.remote.put("f", pattern(200_000))
        let handle = try await self.change(mount, "f")
        mount.remote.put("f", pattern(300_000, from: 7))
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("f", "g") }
                == .changedOnServer
        )
        #expect(mount.remote.tree == ["f"] && mount.remote.bytes(of: "f") == pattern(300_000, from: 7))
        try? await mount.close(handle)
    }

    @Test(
        "A large file that others replaced while it was copied is not put together from both",
        arguments: [("f", "f", "g"), ("d/f", "d", "x")]
    )
    func replacedDuringCopy(file: String, old: String, new: String) async throws {
        let mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100_000))
        mount.remote.put(file, pattern(300_000))
        _ = try await mount.size(file)
        let before = mount.remote.tree
        let hold = mount.remote.hold(.putPart)
        let renaming = Task {
            await failure { () throws(FileSystemError) in try await mount.rename(old, new) }
        }
        await hold.reached()
        mount.remote.put(file, pattern(400_000, from: 7))
        hold.release()
        #expect(await renaming.value == .changedOnServer)
        #expect(mount.remote.tree == before && mount.remote.bytes(of: file) == pattern(400_000, from: 7))
    }

    @Test("What others made in the place of a file that waits is not deleted by the rename of its directory")
    func conflictBelow() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.makeDirectory("d")
        try await mount.put("d/a", pattern(20))
        mount.remote.put("d/a", pattern(20, from: 7))
        _ = await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        #expect(mount.remote.tree.contains { mount.remote.bytes(of: $0) == pattern(20, from: 7) })
    }

    @Test("Who has a file open that a rename may have replaced mixes it with nothing")
    func inDoubt() async throws {
        let mount = try Mount()
        mount.remote.put("g", pattern(200_000))
        mount.remote.put("f", pattern(300_000, from: 7))
        let inode = try await mount.inode("g")
        let mode = OpenMode(reads: false, writes: true, truncates: false)
        let handle = try await mount.fileSystem.open(inode, mode, by: Mount.process).0
        try await mount.write(handle, [255], at: 1000)
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("f", "g") } != nil
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.close(handle) } != nil
        )
        #expect(mount.remote.bytes(of: "g") == pattern(300_000, from: 7))
        #expect(mount.recovered.count == 1)
    }

    @Test("A rename over a file that waits leaves nothing that a power failure could bring back")
    func renamedOverPromise() async throws {
        let mount = try Mount(writes: .waiting)
        try await mount.put("b", pattern(10))
        try await mount.put("a", pattern(20))
        try await mount.rename("a", "b")
        #expect(!mount.fileSystem.staging.journal.mayBringBack)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["b"] && mount.remote.bytes(of: "b") == pattern(20))
    }

    @Test("No power failure brings back a rename on the service that was told as done")
    func powerFailure() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("f", pattern(10))
        for (old, new) in [("d", "x"), ("f", "g")] {
            let hold = mount.remote.hold(.delete)
            let journal = mount.fileSystem.staging.journal
            let renaming = Task { try await mount.rename(old, new) }
            await hold.reached()
            let count = journal.syncedCommitCount
            hold.release()
            try await renaming.value
            #expect(journal.syncedCommitCount > count)
            #expect(try await journal.moves().isEmpty)
        }
    }

    @Test("A rename that a later mount has ended is not begun again after a power failure")
    func powerFailureAfterResuming() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.remote.put("x/a", pattern(10))
        let journal = mount.fileSystem.staging.journal
        let id = journal.addMove(.directory, from: path("d"), to: path("x"))
        journal.noteCopied(path("x"), size: nil, in: id)
        journal.noteCopied(path("x/a"), size: 10, in: id)
        journal.advanceMove(id, to: .deleting)
        let next = try await mount.killed()
        let resumed = next.fileSystem.staging.journal
        // Who waits for the old name has it once the rename has ended.
        let hold = next.remote.hold(.makeDirectory)
        let making = Task { try await next.mkdir("d") }
        await hold.reached()
        // One is that of its beginning.
        #expect(resumed.syncedCommitCount > 1)
        #expect(try await resumed.moves().isEmpty)
        hold.release()
        try await making.value
        #expect(next.remote.tree == ["d/", "x/", "x/a"])
    }

    @Test("Nothing is read any more of a version that a rename met as shorter than it was")
    func shorterForAMoment() async throws {
        let mount = try Mount()
        let block = 131_072
        mount.remote.put("a", pattern(3 * block))
        let handle = try await mount.open("a")
        #expect(try await mount.read(handle, 0..<10) == pattern(10))
        mount.fileSystem.release(handle)
        mount.remote.put("a", pattern(2 * block, from: 5))
        let error = await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
        #expect(error == .changedOnServer)
        mount.remote.put("a", pattern(3 * block, from: 9))
        mount.expire()
        #expect(try await mount.get("a") == pattern(3 * block, from: 9))
    }

    @Test("What is copied into an empty directory that is replaced shows only once that is done")
    func copiesAreHidden() async throws {
        let mount = try Mount()
        for name in ["a", "b"] { mount.remote.put("d/\(name)", pattern(10)) }
        mount.remote.put("d/s/a", pattern(10))
        mount.remote.makeDirectory("e")
        #expect(try await mount.list("e").isEmpty)
        let copying = mount.remote.hold(.makeDirectory, .beforeAnswering)
        let deleting = mount.remote.hold(.delete)
        let renaming = Task { try await mount.rename("d", "e") }
        await copying.reached()
        #expect(mount.remote.tree == ["d/", "d/a", "d/b", "d/s/", "d/s/a", "e/", "e/a", "e/b", "e/s/"])
        mount.expire()
        #expect(try await mount.list("e").isEmpty)
        let error = await failure { () throws(FileSystemError) in _ = try await mount.open("e/a") }
        #expect(error == .noSuchFile)
        copying.release()
        await deleting.reached()
        #expect(try await mount.list("e") == ["a", "b", "s"])
        deleting.release()
        try await renaming.value
        #expect(try await mount.list("e") == ["a", "b", "s"])
        #expect(try await mount.get("e/a") == pattern(10))
        #expect(mount.remote.tree == ["e/", "e/a", "e/b", "e/s/", "e/s/a"])
    }

    @Test("After a rename over an empty directory that failed, that shows what others put there")
    func copiesAreTakenBack() async throws {
        let mount = try Mount()
        for name in ["a", "b"] { mount.remote.put("d/\(name)", pattern(10)) }
        mount.remote.put("d/s/a", pattern(10))
        mount.remote.makeDirectory("e")
        mount.faulty.fail(.makeDirectory, with: .rejected(status: 403, message: "no"))
        #expect(await failure { () throws(FileSystemError) in try await mount.rename("d", "e") } != nil)
        #expect(mount.remote.tree == ["d/", "d/a", "d/b", "d/s/", "d/s/a", "e/"])
        mount.remote.put("e/a", pattern(20))
        mount.expire()
        #expect(try await mount.list("e") == ["a"])
        #expect(try await mount.get("e/a") == pattern(20))
    }

    @Test("Nor does what an earlier mount copied show before its rename is done")
    func earlierCopiesAreHidden() async throws {
        let mount = try Mount()
        for name in ["a", "b"] { mount.remote.put("d/\(name)", pattern(10)) }
        mount.remote.put("e/a", pattern(10))
        let journal = mount.fileSystem.staging.journal
        let id = journal.addMove(.directory, from: path("d"), to: path("e"))
        journal.noteCopied(path("e/a"), size: 10, in: id)
        await journal.written()
        let next = try Mount(over: mount.remote, in: mount.directory.copy())
        let copying = next.remote.hold(.beginUpload)
        try await next.fileSystem.recover()
        try await next.fileSystem.begin(isReadOnly: false)
        await copying.reached()
        #expect(try await next.list("e").isEmpty)
        copying.release()
        // Once the first rename has ended.
        try await next.rename("e", "f")
        #expect(try await next.list("f") == ["a", "b"])
    }
}
