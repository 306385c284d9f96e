import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import VFS

@Suite("Uploads that are given up, on a service that lists them", .timeLimit(.minutes(5)))
struct GivenUpUploadTests {
    private let mount: Mount

    /// What the service lists after a file's name while it is uploaded for the first time.
    private let listed = ".UUUUUUUUUUUUUUUUUUU1"

    init() throws { self.mount = try Self.mount() }

    /// With the delay that is the default, what is given up is deleted where a test asks for that alone.
    private static func mount(
        _ behaviour: InMemoryRemote.Behaviour = .deployed,
        delay: Duration = .seconds(3600),
        writeBack: Bool = false
    ) throws -> Mount {
        var writes = WriteOptions()
        if writeBack { writes.mode = .writeBack }
        writes.givenUpDelay = delay
        let lanes = UploadLanes(maximumCount: 1, partSize: UInt64(8 * kibibyte))
        return try Mount(behaviour, lanes: lanes, writes: writes)
    }

    private var deletions: [String] { self.mount.remote.calls.filter { $0.hasPrefix("delete") } }

    /// Nothing is left of any upload, and the journal knows of none.
    private func nothingIsLeft(of mount: Mount? = nil, but tree: [String]) async throws {
        let mount = mount ?? self.mount
        #expect(mount.remote.uploadCount == 0)
        #expect(mount.remote.tree == tree)
        #expect(try await mount.list() == tree)
        #expect(try await mount.killed().fileSystem.staging.earlierUploads.isEmpty)
    }

    /// A file that is cut while it goes up.
    private func cut(_ mount: Mount, _ name: String = "a") async throws {
        let handle = try await mount.streaming(name)
        try await mount.truncate(handle, to: 5)
        try await mount.close(handle)
    }

    /// A file whose upload fails, and is to be gone on with.
    private func failToPut() async {
        self.mount.faulty.fail(.putPart, with: .timedOut)
        let failed = await failure { () async throws(FileSystemError) in
            try await self.mount.put("a", blocks(24))
        }
        #expect(failed != nil)
    }

    @Test("One that ran ahead of a file that came to be of another size is deleted before a drain ends")
    func early() async throws {
        try await self.cut(self.mount)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        #expect(self.deletions == ["delete a\(self.listed)"])
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("It is deleted soon, too, if nobody waits for anything")
    func inTheBackground() async throws {
        let mount = try Self.mount(delay: .milliseconds(1))
        try await self.cut(mount)
        await mount.remote.ended(.delete)
        while !mount.fileSystem.uploader.begun.idle.isEmpty { await Task.yield() }
        try await self.nothingIsLeft(of: mount, but: ["a"])
    }

    @Test("One that is given up while it begins is deleted")
    func whileItBegins() async throws {
        self.mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let hold = self.mount.remote.hold(.beginUpload, .beforeAnswering)
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<9)
        await hold.reached(1)
        try await self.mount.write(handle, [255], at: 0)
        hold.release()
        try await self.mount.close(handle)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("One that is stopped while it begins, as the file is unlinked, is deleted")
    func stoppedWhileItBegins() async throws {
        let mount = try Self.mount(writeBack: true)
        let hold = mount.remote.hold(.beginUpload, .beforeAnswering)
        try await mount.put("a", blocks(1))
        await hold.reached(1)
        try await mount.unlink("a")
        hold.release()
        #expect(await mount.fileSystem.drain().isEmpty)
        try await self.nothingIsLeft(of: mount, but: [])
    }

    @Test("A directory goes, or is replaced, with what stops in it as it begins", arguments: [false, true])
    func directory(isReplaced: Bool) async throws {
        let mount = try Self.mount(writeBack: true)
        try await mount.mkdir("d")
        let hold = mount.remote.hold(.beginUpload, .beforeAnswering)
        try await mount.put("d/a", blocks(1))
        await hold.reached(1)
        try await mount.unlink("d/a")
        if isReplaced { try await mount.mkdir("e") }
        let removing = Task {
            if isReplaced { try await mount.rename("e", "d") } else { try await mount.rmdir("d") }
        }
        await mount.remote.ended(.list, mount.remote.count(.list) + 1)
        hold.release()
        try await removing.value
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == (isReplaced ? ["d/"] : []))
    }

    @Test("A directory that is not empty waits for nothing that stops in another one")
    func otherDirectory() async throws {
        let mount = try Self.mount(writeBack: true)
        mount.remote.put("e/b", blocks(1))
        try await mount.mkdir("d")
        let hold = mount.remote.hold(.beginUpload, .beforeAnswering)
        try await mount.put("d/a", blocks(1))
        await hold.reached(1)
        try await mount.unlink("d/a")
        await #expect(throws: FileSystemError.notEmpty) { try await mount.rmdir("e") }
        hold.release()
        #expect(await mount.fileSystem.drain().isEmpty)
    }

    @Test("One that a writer was faster than is deleted")
    func outrun() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<24)
        let hold = self.mount.remote.hold(.putPart)
        let closing = Task { try await self.mount.fileSystem.fsync(handle) }
        await hold.reached()
        try await self.mount.write(handle, [255], at: 0)
        hold.release()
        try await closing.value
        try await self.mount.close(handle)
        #expect(self.mount.remote.count(.beginUpload) == 2)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("One of which the service refused a part, so that another one was begun, is deleted")
    func refused() async throws {
        self.mount.faulty.fail(.putPart, with: .rejected(status: 400, message: "no"))
        try await self.mount.put("a", blocks(24))
        #expect(self.mount.remote.count(.beginUpload) == 2)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("One of a file that is unlinked after it failed is deleted")
    func unlinked() async throws {
        await self.failToPut()
        try await self.mount.unlink("a")
        #expect(await self.mount.fileSystem.drain().isEmpty)
        try await self.nothingIsLeft(but: [])
    }

    @Test("One that failed and can be gone on with is left alone until it is the file")
    func resumable() async throws {
        await self.failToPut()
        await self.mount.fileSystem.deleteGivenUpUploads()
        #expect(self.deletions.isEmpty)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        #expect(self.mount.remote.count(.beginUpload) == 1 && self.deletions.isEmpty)
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("One that may be the file, as the answer to that was lost, is left alone")
    func inDoubt() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<24)
        self.mount.faulty.fail(.completeUpload, with: .timedOut)
        let failed = await failure { () throws(FileSystemError) in
            try await self.mount.fileSystem.fsync(handle)
        }
        #expect(failed != nil)
        // So that it is not gone on with.
        try await self.mount.write(handle, [255], at: 0)
        await self.mount.fileSystem.deleteGivenUpUploads()
        try await self.mount.close(handle)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        #expect(self.deletions.isEmpty && self.mount.remote.uploadCount == 1)
        #expect(try await self.mount.list() == ["a"])
    }

    @Test("What others begin, and files of names like those, are left alone")
    func foreign() async throws {
        let other = try await self.mount.remote.beginUpload(path("a"), size: 5)
        self.mount.remote.put("b\(self.listed)", [1])
        try await self.cut(self.mount)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        #expect(self.deletions.count == 1 && self.mount.remote.uploadCount == 1)
        self.mount.expire()
        #expect(try await self.mount.list() == ["a", "a.\(other)", "b\(self.listed)"])
    }

    @Test("A file that was made here under just the name that the service lists is left alone, and shown")
    func sameName() async throws {
        try await self.cut(self.mount)
        try await self.mount.put("a\(self.listed)", [1])
        #expect(await self.mount.fileSystem.drain().isEmpty)
        #expect(self.deletions.isEmpty)
        #expect(self.mount.remote.tree == ["a", "a\(self.listed)"])
        self.mount.expire()
        #expect(try await self.mount.list() == ["a", "a\(self.listed)"])
    }

    @Test("What could not be deleted stays hidden, and is deleted by the next mount")
    func undeletable() async throws {
        self.mount.faulty.fail(.delete, with: .timedOut)
        try await self.cut(self.mount)
        #expect(await self.mount.fileSystem.drain().isEmpty)
        self.mount.expire()
        #expect(self.mount.remote.uploadCount == 1)
        #expect(try await self.mount.list() == ["a"])
        let next = try await self.mount.killed()
        await next.remote.ended(.delete)
        #expect(next.remote.uploadCount == 0)
    }

    @Test("While the service cannot be asked nothing is deleted, and then it is")
    func unlisted() async throws {
        try await self.cut(self.mount)
        self.mount.faulty.fail(.list, with: .timedOut, count: .max)
        await self.mount.fileSystem.deleteGivenUpUploads()
        #expect(self.deletions.isEmpty)
        self.mount.faulty.heal()
        await self.mount.fileSystem.deleteGivenUpUploads()
        try await self.nothingIsLeft(but: ["a"])
    }

    @Test("One in a directory of very many names is deleted, and the directory listed for that alone")
    func wide() async throws {
        for behaviour in InMemoryRemote.Behaviour.allCases {
            let mount = try Self.mount(behaviour)
            mount.remote.makeWideDirectory("d", count: 20_000)
            try await self.cut(mount, "d/a")
            mount.remote.forgetCalls()
            #expect(await mount.fileSystem.drain().isEmpty)
            #expect(mount.fileSystem.uploader.begun.idle.isEmpty)
            #expect(mount.remote.count(.list) == (behaviour == .deployed ? 1 : 0))
            #expect(mount.remote.uploadCount == (behaviour == .deployed ? 0 : 1))
        }
    }

    @Test("Nothing is deleted where the directory is gone, and the next mount looks for what is left")
    func gone() async throws {
        let mount = try Self.mount(.strict)
        mount.remote.makeDirectory("d")
        try await self.cut(mount, "d/a")
        mount.remote.remove("d")
        await mount.fileSystem.deleteGivenUpUploads()
        #expect(mount.remote.count(.delete) == 0)
        #expect(mount.fileSystem.uploader.begun.idle.isEmpty)
        #expect(try await mount.killed().fileSystem.staging.earlierUploads.count == 1)
    }

    @Test("Nothing is deleted on a service that does not list uploads")
    func strict() async throws {
        let strict = try Self.mount(.strict)
        try await self.cut(strict)
        #expect(await strict.fileSystem.drain().isEmpty)
        #expect(strict.remote.count(.delete) == 0)
        #expect(try await strict.killed().fileSystem.staging.earlierUploads.isEmpty)
    }
}
