import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Write-back: close waits for the local disk, the service gets it later", .timeLimit(.minutes(5)))
struct WriteBackTests {
    private func mount(
        _ behaviour: InMemoryRemote.Behaviour = .strict,
        _ writes: WriteOptions = WriteOptions(mode: .writeBack)
    ) throws -> Mount {
        try Mount(behaviour, writes: writes)
    }

    @Test("A close returns while the service does not answer, and the file is read from here")
    func closeDoesNotWait() async throws {
        let mount = try self.mount()
        let hold = mount.remote.hold(.beginUpload)
        try await mount.put("a", pattern(100))
        #expect(try await mount.get("a") == pattern(100))
        #expect(mount.remote.bytes(of: "a") == nil)
        #expect(mount.staged.count { $0.hasPrefix("dirty-") } == 1)
        hold.release()
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        #expect(mount.remote.count(.read) == 0)
    }

    @Test(
        "A new file costs three requests, whatever the listing of its directory costs",
        arguments: [1, 200]
    )
    func requests(count: Int) async throws {
        let mount = try self.mount()
        for number in 0..<count { try await mount.put("f-\(number)", pattern(10)) }
        await mount.waitUntilUploaded()
        #expect(mount.remote.count(.beginUpload) == count)
        #expect(mount.remote.count(.putPart) == count)
        #expect(mount.remote.count(.completeUpload) == count)
        #expect(mount.remote.count(.size) == 0)
        #expect(mount.remote.count(.list) <= 2)
    }

    @Test("Many small files go up side by side, and no more than the limit")
    func sideBySide() async throws {
        let mount = try self.mount()
        let hold = mount.remote.hold(.beginUpload)
        for number in 0..<100 { try await mount.put("f-\(number)", pattern(10)) }
        #expect(mount.remote.inFlightMaximum(.beginUpload) > 1)
        hold.release()
        await mount.waitUntilUploaded()
        #expect(mount.remote.inFlightMaximum(.beginUpload) <= UploadSchedule.capacity)
        #expect(mount.remote.tree.count == 100)
    }

    @Test("fsync covers what was written, and a close after it costs no second upload")
    func fsync() async throws {
        let mount = try self.mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        try await mount.fileSystem.fsync(handle)
        await mount.waitUntilUploaded()
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        #expect(mount.remote.count(.completeUpload) == 1)
    }

    @Test("What no close or fsync covers is not uploaded until somebody waits for all")
    func uncovered() async throws {
        let mount = try self.mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        #expect(mount.fileSystem.uploadStatus.open.fileCount == 1)
        #expect(mount.remote.count(.beginUpload) == 0)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        mount.fileSystem.release(handle)
    }

    @Test("A file that is written, closed and renamed is uploaded once, under its last name")
    func writeThenRename() async throws {
        let mount = try self.mount()
        try await mount.put("notes.tmp", pattern(100))
        try await mount.rename("notes.tmp", "notes")
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["notes"])
        #expect(mount.remote.count(.beginUpload) == 1 && mount.remote.count(.delete) == 0)
    }

    @Test("A temporary name replaces a file of the service with one upload and without a conflict")
    func renameOverExisting() async throws {
        let mount = try self.mount()
        mount.remote.put("notes", pattern(7))
        #expect(try await mount.size("notes") == 7)
        // Who stats a file may read it: its first bytes were asked for too.
        await mount.remote.ended(.read)
        mount.remote.forgetCalls()
        try await mount.put(".notes.a8Fq2Z", pattern(100))
        try await mount.rename(".notes.a8Fq2Z", "notes")
        #expect(try await mount.get("notes") == pattern(100))
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["notes"])
        #expect(mount.remote.bytes(of: "notes") == pattern(100))
        #expect(mount.remote.count(.completeUpload) == 1 && mount.remote.count(.read) == 0)
    }

    @Test("A temporary name is uploaded after its delay, or when somebody waits for all")
    func temporaryDelay() async throws {
        let mount = try self.mount(
            .strict,
            WriteOptions(mode: .writeBack, temporaryDelay: .milliseconds(50))
        )
        try await mount.put("a.tmp", [1])
        await mount.waitUntilUploaded()
        #expect(mount.remote.tree == ["a.tmp"])
        let patient = try self.mount()
        try await patient.put("a.tmp", [1])
        #expect(await patient.fileSystem.drain().isEmpty)
        #expect(patient.remote.tree == ["a.tmp"])
    }

    @Test(
        "In sync mode a temporary name waits only by an option, and its new name is on the service after rename"
    )
    func temporaryInSync() async throws {
        let plain = try Mount()
        try await plain.put("a.tmp", [1])
        #expect(plain.remote.tree == ["a.tmp"])
        let mount = try Mount(writes: WriteOptions(temporaryDelay: .seconds(30)))
        try await mount.put("a.tmp", [1, 2])
        #expect(mount.remote.tree.isEmpty)
        try await mount.rename("a.tmp", "a")
        #expect(mount.remote.bytes(of: "a") == [1, 2])
        #expect(mount.remote.tree == ["a"] && mount.remote.count(.completeUpload) == 1)
    }

    @Test(
        "A file that is deleted before its upload costs nothing, and one deleted during it does not come back"
    )
    func unlink() async throws {
        let mount = try self.mount()
        try await mount.put("a.tmp", pattern(10))
        try await mount.unlink("a.tmp")
        #expect(mount.remote.count(.beginUpload) == 0 && mount.remote.count(.delete) == 0)
        #expect(mount.staged.allSatisfy { !$0.hasPrefix("dirty-") })
        for kind in [CallKind.beginUpload, .putPart, .completeUpload] {
            let hold = mount.remote.hold(kind)
            try await mount.put("b", pattern(10))
            await hold.reached()
            let removal = Task { try await mount.unlink("b") }
            hold.release()
            try await removal.value
            #expect(await mount.fileSystem.drain().isEmpty)
            #expect(mount.remote.tree.isEmpty, "\(kind)")
            #expect(try await !mount.exists("b"))
        }
    }

    @Test("A file that is overwritten while it is uploaded ends up as it was written last")
    func overwrite() async throws {
        for kind in [CallKind.beginUpload, .putPart, .completeUpload] {
            let mount = try self.mount()
            let hold = mount.remote.hold(kind)
            try await mount.put("a", pattern(100))
            await hold.reached()
            let writing = Task { try await mount.put("a", [7]) }
            hold.release()
            try await writing.value
            #expect(try await mount.get("a") == [7])
            #expect(await mount.fileSystem.drain().isEmpty)
            #expect(mount.remote.bytes(of: "a") == [7], "\(kind)")
            #expect(mount.remote.tree == ["a"])
        }
    }

    @Test("A file that is renamed while it is uploaded is there once, under its new name")
    func renameDuringUpload() async throws {
        for kind in [CallKind.beginUpload, .putPart, .completeUpload] {
            let mount = try self.mount()
            let hold = mount.remote.hold(kind)
            try await mount.put("a", pattern(100))
            await hold.reached()
            let renaming = Task { try await mount.rename("a", "b") }
            hold.release()
            try await renaming.value
            #expect(await mount.fileSystem.drain().isEmpty)
            #expect(mount.remote.tree == ["b"], "\(kind)")
            #expect(mount.remote.bytes(of: "b") == pattern(100))
        }
    }

    @Test("A failure that may pass is tried again until it succeeds, and no close is told")
    func transient() async throws {
        let mount = try self.mount()
        mount.faulty.fail(.putPart, with: .unavailable("down"), count: 2)
        try await mount.put("a", pattern(100))
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        try await mount.put("a", [1])
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("A refusal is told once, by the next close or fsync, which tries again")
    func refusal() async throws {
        let mount = try self.mount()
        mount.faulty.fail(.beginUpload, with: .forbidden)
        try await mount.put("a", pattern(100))
        while mount.fileSystem.uploadStatus.failed.isEmpty { await Task.yield() }
        let failed = mount.fileSystem.uploadStatus.failed
        #expect(failed.map(\.place) == ["a"] && failed.map(\.error) == [.remote(.forbidden)])
        let handle = try await mount.open("a", writes: true)
        let error = await failure { () throws(FileSystemError) in try await mount.close(handle) }
        #expect(error == .remote(.forbidden))
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        let again = try await mount.open("a", writes: true)
        try await mount.fileSystem.fsync(again)
        try await mount.close(again)
    }

    @Test("What was refused is tried again by whoever waits for all, who is told its name and why")
    func drainNamesFailures() async throws {
        let mount = try self.mount()
        mount.faulty.fail(.beginUpload, with: .rejected(status: 400, message: "no"), count: 2)
        try await mount.put("a", [1])
        while mount.fileSystem.uploadStatus.failed.isEmpty { await Task.yield() }
        let unsent = await mount.fileSystem.drain()
        #expect(unsent.map(\.place) == ["a"])
        #expect(unsent.map(\.error) == [.remote(.rejected(status: 400, message: "no"))])
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test(
        "While the service is away, whoever waits for all is told after a few failures, not after one a file"
    )
    func drainDuringOutage() async throws {
        let options = WriteOptions(mode: .writeBack, temporaryDelay: .seconds(3600))
        let mount = try self.mount(.strict, options)
        for number in 0..<200 { try await mount.put("f-\(number).tmp", [1]) }
        mount.faulty.fail(.beginUpload, with: .unavailable("down"), count: .max)
        let unsent = await mount.fileSystem.drain()
        #expect(unsent.count == 200)
        #expect(unsent.allSatisfy { $0.error == .remote(.unavailable("down")) })
        mount.faulty.heal()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree.count == 200)
    }

    @Test("The kernel may forget a file that waits, and what is known of its directory may be dropped")
    func forgetting() async throws {
        let mount = try Mount(listingBudget: 0, writes: WriteOptions(mode: .writeBack))
        mount.remote.makeDirectory("d")
        mount.remote.makeWideDirectory("wide", count: 1000)
        try await mount.put("d/a.tmp", pattern(100))
        mount.forgetAll()
        #expect(try await mount.list("wide").count == 1000)
        mount.expire()
        mount.forgetAll()
        #expect(try await mount.list("d") == ["a.tmp"])
        #expect(try await mount.get("d/a.tmp") == pattern(100))
        mount.forgetAll()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "d/a.tmp") == pattern(100))
    }

    @Test("truncate by path is durable here and uploaded later")
    func truncate() async throws {
        let mount = try self.mount()
        mount.remote.put("a", pattern(100))
        let hold = mount.remote.hold(.beginUpload)
        try await mount.truncate("a", to: 40)
        #expect(try await mount.size("a") == 40)
        hold.release()
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(40))
    }

    @Test("A file that is written all the time and synced now and then gets to the service")
    func busyWriter() async throws {
        let mount = try self.mount()
        let handle = try await mount.create("a")
        var isThere = false
        for round in 0..<10_000 where !isThere {
            try await mount.write(handle, [UInt8(round % 251)])
            try await mount.fileSystem.fsync(handle)
            try await mount.write(handle, [UInt8(round % 251)], at: 1)
            await Task.yield()
            isThere = mount.remote.bytes(of: "a") != nil
        }
        #expect(isThere)
        try await mount.close(handle)
        await mount.waitUntilUploaded()
    }

    @Test("The status counts what waits, what is on its way and what is only open")
    func status() async throws {
        let mount = try self.mount()
        let hold = mount.remote.hold(.beginUpload)
        try await mount.put("a", pattern(10))
        await hold.reached()
        try await mount.put("b.tmp", pattern(20))
        let open = try await mount.create("c")
        try await mount.write(open, pattern(30))
        let status = mount.fileSystem.uploadStatus
        #expect(status.uploading == .init(fileCount: 1, byteCount: 10))
        #expect(status.pending == .init(fileCount: 1, byteCount: 20))
        #expect(status.open == .init(fileCount: 1, byteCount: 30))
        hold.release()
        mount.fileSystem.release(open)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.fileSystem.uploadStatus.pending.fileCount == 0)
    }
}
