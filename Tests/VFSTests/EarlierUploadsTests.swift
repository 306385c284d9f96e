import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import VFS

@Suite("Uploads that died with their driver, on a service that lists them", .timeLimit(.minutes(5)))
struct EarlierUploadsTests {
    /// How an upload comes to be one that the next mount does not go on with.
    enum Upload: CaseIterable {
        case ofWhatChangedSince, ofARenamedFile, ofAFileBeingWritten
    }

    /// A mount that is killed while parts of an upload are on their way.
    private struct Killed {
        let mount: Mount
        let hold: Hold

        init(writes: WriteOptions = .waiting) throws {
            let lanes = UploadLanes(maximumCount: 1, partSize: 100)
            self.mount = try Mount(.deployed, lanes: lanes, writes: writes)
            self.mount.remote.put("d/b", pattern(10))
            self.hold = self.mount.remote.hold(.putPart)
        }

        /// The next mount, with what this one leaves here and on the service if it is killed now.
        func next() async throws -> Mount {
            await self.hold.reached()
            await self.mount.fileSystem.staging.journal.written()
            #expect(self.mount.remote.uploadCount == 1)
            defer { self.hold.release() }
            return try Mount(
                writes: .waiting,
                over: self.mount.remote.copy(),
                in: self.mount.directory.copy()
            )
        }
    }

    /// What the service lists after a file's name while it is uploaded.
    private let listed = ".UUUUUUUUUUUUUUUUUUU1"

    /// The next mount, after one that was killed in the middle of an upload.
    private func mount(after upload: Upload) async throws -> Mount {
        let killed = try Killed(writes: upload == .ofAFileBeingWritten ? WriteOptions() : .waiting)
        let mount = killed.mount
        let fileSystem = mount.fileSystem
        switch upload {
        case .ofWhatChangedSince:
            try await mount.put("d/a", pattern(350))
            Task { await fileSystem.drain() }
            await killed.hold.reached()
            let handle = try await mount.open("d/a", writes: true)
            try await mount.write(handle, [7], at: 3)
        case .ofARenamedFile:
            Task { try await mount.rename("d/b", "d/a") }
        case .ofAFileBeingWritten:
            fileSystem.guessSizes { _, _ in 350 }
            let handle = try await mount.create("d/a")
            for index in 0..<3 { try await mount.write(handle, pattern(100), at: index * 100) }
        }
        return try await killed.next()
    }

    @Test("What the next mount does not go on with is not shown, and is deleted", arguments: Upload.allCases)
    func deleted(upload: Upload) async throws {
        let mount = try await self.mount(after: upload)
        let hold = mount.remote.hold(.delete)
        try await mount.fileSystem.recover()
        await hold.reached()
        mount.expire()
        let shown = try await mount.list("d")
        #expect(shown == (upload == .ofWhatChangedSince ? ["a", "b"] : ["b"]))
        hold.release()
        await mount.remote.ended(.delete)
        #expect(mount.remote.uploadCount == 0)
        #expect(mount.remote.calls.filter { $0.hasPrefix("delete") } == ["delete d/a\(self.listed)"])
        // Nor is it looked for once more.
        let third = try await mount.killed()
        #expect(third.fileSystem.staging.earlierUploads.isEmpty)
    }

    @Test("What the next mount goes on with is not shown, nor deleted, and becomes the file")
    func resumed() async throws {
        let killed = try Killed()
        let fileSystem = killed.mount.fileSystem
        try await killed.mount.put("d/a", pattern(350))
        Task { await fileSystem.drain() }
        let mount = try await killed.next()
        try await mount.fileSystem.recover()
        #expect(try await mount.list("d") == ["a", "b"])
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "d/a") == pattern(350))
        #expect(mount.remote.count(.delete) == 0 && mount.remote.count(.beginUpload) == 0)
        mount.expire()
        #expect(try await mount.list("d") == ["a", "b"])
        #expect(try await mount.killed().fileSystem.staging.earlierUploads.isEmpty)
    }

    @Test("Uploads of others, and files with names like those, are left alone")
    func foreign() async throws {
        let mount = try await self.mount(after: .ofARenamedFile)
        let other = try await mount.remote.beginUpload(path("d/a"), size: 5)
        mount.remote.put("d/c\(self.listed)", [1])
        try await mount.fileSystem.recover()
        await mount.remote.ended(.delete)
        mount.expire()
        #expect(try await mount.list("d") == ["a.\(other)", "b", "c\(self.listed)"])
        #expect(mount.remote.count(.delete) == 1)
    }

    @Test("What could not be deleted stays hidden, and is deleted by the mount after the next")
    func refused() async throws {
        let mount = try await self.mount(after: .ofARenamedFile)
        mount.faulty.fail(.delete, with: .timedOut)
        try await mount.fileSystem.recover()
        while !mount.log.text.contains(where: { $0.contains("cannot be deleted") }) { await Task.yield() }
        mount.expire()
        #expect(try await mount.list("d") == ["b"])
        let third = try await mount.killed()
        await third.remote.ended(.delete)
        #expect(third.remote.uploadCount == 0)
    }

    @Test("If the directory cannot be listed, the mount comes to be all the same, and a later one deletes it")
    func unlisted() async throws {
        let mount = try await self.mount(after: .ofARenamedFile)
        mount.faulty.fail(.list, with: .timedOut)
        try await mount.fileSystem.recover()
        #expect(mount.remote.count(.delete) == 0)
        let third = try await mount.killed()
        await third.remote.ended(.delete)
        #expect(third.remote.uploadCount == 0)
    }

    @Test("Nothing is deleted on a service that does not list uploads, or where the directory is gone")
    func absent() async throws {
        let mount = try await self.mount(after: .ofARenamedFile)
        mount.remote.remove("d")
        try await mount.fileSystem.recover()
        #expect(mount.remote.count(.delete) == 0)
        #expect(try await mount.killed().fileSystem.staging.earlierUploads.isEmpty)
        let strict = try Mount()
        let hold = strict.remote.hold(.putPart)
        strict.remote.put("b", pattern(10))
        let renaming = Task { try await strict.rename("b", "a") }
        await hold.reached()
        let next = try await strict.killed()
        #expect(next.remote.count(.delete) == 0)
        #expect(try await next.killed().fileSystem.staging.earlierUploads.isEmpty)
        hold.release()
        try await renaming.value
    }
}
