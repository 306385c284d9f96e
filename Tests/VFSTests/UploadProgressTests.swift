import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import Staging
@testable import VFS

@Suite("Uploads that are cut off", .timeLimit(.minutes(5)))
struct UploadProgressTests {
    private let mount: Mount
    /// What an outage in the third of four parts leaves to be asked for; among that whether the name is still free.
    private let rest = ["put a 200-300", "put a 300-350", "size a", "complete a"]

    init() throws { self.mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100)) }

    /// A file of which two parts were sent when the service failed.
    private func cutOff() async throws -> FileHandle {
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, pattern(350))
        self.mount.faulty.fail(.putPart, with: .timedOut, skipping: 2, count: 100)
        let error = await failure { () throws(FileSystemError) in
            try await self.mount.fileSystem.flush(handle, by: Mount.process)
        }
        #expect(error == .remote(.timedOut))
        self.mount.faulty.heal()
        self.mount.remote.forgetCalls()
        return handle
    }

    @Test("The next attempt after an outage sends what is missing, and nothing twice")
    func resumed() async throws {
        let handle = try await self.cutOff()
        try await self.mount.close(handle)
        #expect(self.mount.remote.calls == self.rest)
        #expect(self.mount.remote.bytes(of: "a") == pattern(350))
    }

    @Test("What was written since the outage is in what is uploaded then, all of it anew")
    func changed() async throws {
        let handle = try await self.cutOff()
        try await self.mount.write(handle, [255], at: 10)
        try await self.mount.close(handle)
        #expect(self.mount.remote.count(.beginUpload) == 1)
        #expect(self.mount.remote.bytes(of: "a")?[10] == 255)
        #expect(self.mount.remote.bytes(of: "a")?.dropFirst(11) == pattern(350)[11...])
    }

    @Test("A file that was renamed since the outage goes to its new name whole")
    func renamed() async throws {
        let handle = try await self.cutOff()
        try await self.mount.rename("a", "b")
        try await self.mount.close(handle)
        #expect(self.mount.remote.tree == ["b"])
        #expect(self.mount.remote.bytes(of: "b") == pattern(350))
    }

    @Test("The journal knows an upload of what a close covers from its beginning to its end")
    func journal() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, pattern(350))
        let staged = try #require(handle.content.staged)
        staged.recordPending()
        let put = self.mount.remote.hold(.putPart)
        let complete = self.mount.remote.hold(.completeUpload)
        let closing = Task { try await self.mount.fileSystem.flush(handle, by: Mount.process) }
        await put.reached()
        #expect(staged.stage == .uploading && staged.upload != nil)
        put.release()
        await complete.reached()
        #expect(staged.stage == .unverified)
        complete.release()
        try await closing.value
        #expect(staged.stage == nil && staged.upload == nil)
        self.mount.fileSystem.release(handle)
    }

    @Test("The next mount after a crash sends what is missing of an upload, and nothing twice")
    func nextMount() async throws {
        var mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100))
        mount.faulty.fail(.putPart, with: .timedOut, skipping: 2, count: .max)
        let error = await failure { () throws(FileSystemError) in try await mount.put("a", pattern(350)) }
        #expect(error == .remote(.timedOut))
        mount.remote.forgetCalls()
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == pattern(350))
        #expect(mount.remote.count(.beginUpload) == 0)
        #expect(mount.remote.count(.putPart) == 2)
    }

    @Test("The next mount after a power failure sends what is missing of an upload of what was synced")
    func nextStart() async throws {
        let lanes = UploadLanes(maximumCount: 1, partSize: 100)
        let mount = try Mount(lanes: lanes, writes: .waiting)
        try await mount.put("a", pattern(350))
        mount.faulty.fail(.putPart, with: .timedOut, skipping: 2, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        await mount.fileSystem.staging.journal.written()
        let next = try Mount(
            writes: .waiting,
            over: mount.remote.copy(),
            in: mount.directory.copy(),
            boot: "next"
        )
        try await next.fileSystem.recover()
        #expect(await next.fileSystem.drain().isEmpty)
        #expect(next.remote.bytes(of: "a") == pattern(350))
        #expect(next.remote.count(.beginUpload) == 0 && next.remote.count(.putPart) == 2)
    }

    @Test("The next mount goes on with no upload under a name that its file got since")
    func nextNameAndMount() async throws {
        let mount = try Mount(lanes: UploadLanes(maximumCount: 1, partSize: 100), writes: .waiting)
        try await mount.put("a", pattern(350))
        mount.faulty.fail(.putPart, with: .timedOut, skipping: 2, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        // None that this mount begins under the new name: with that the next one may go on.
        mount.faulty.fail(.beginUpload, with: .timedOut, count: .max)
        try await mount.rename("a", "b")
        let next = try await mount.killed()
        #expect(await next.fileSystem.drain().isEmpty)
        let calls = next.remote.calls.filter { $0.hasPrefix("begin") || $0.hasPrefix("put") }
        #expect(calls == ["begin b 350", "put b 0-350"])
        #expect(next.remote.bytes(of: "b") == pattern(350))
    }

    @Test("An upload that a service does not know any more, and answers with 500, is begun anew in the end")
    func forgotten() async throws {
        let handle = try await self.cutOff()
        // What it says of it is what it says when it is out of order.
        self.mount.faulty.fail(.putPart, with: .unavailable("500"), count: 2)
        let error = await failure { () throws(FileSystemError) in
            try await self.mount.fileSystem.flush(handle, by: Mount.process)
        }
        #expect(error == .remote(.unavailable("500")))
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == pattern(350))
        #expect(self.mount.remote.count(.beginUpload) == 1)
    }

    @Test("An outage, however long, costs no part that had arrived")
    func longOutage() async throws {
        let handle = try await self.cutOff()
        self.mount.faulty.fail(.putPart, with: .unavailable("502"), count: .max)
        self.mount.faulty.fail(.beginUpload, with: .unavailable("502"), count: .max)
        for _ in 0..<5 {
            let error = await failure { () throws(FileSystemError) in
                try await self.mount.fileSystem.flush(handle, by: Mount.process)
            }
            #expect(error == .remote(.unavailable("502")))
        }
        self.mount.faulty.heal()
        self.mount.remote.forgetCalls()
        try await self.mount.close(handle)
        #expect(self.mount.remote.calls == self.rest)
    }

    @Test("An upload that another mount began goes on where all of the file is here, and else begins anew")
    func restored() async throws {
        for isWhole in [true, false] {
            let handle = try await self.cutOff()
            let content = handle.content
            let staged = try #require(content.staged)
            let subject = UploadProgress.Subject(
                staged: staged,
                snapshot: staged.snapshot,
                base: nil,
                path: path("a")
            )
            let earlier = try #require(content.progress.recorder(for: subject).earlier)
            let upload = Journal.Upload(
                id: earlier.id,
                partSize: earlier.partSize,
                sentParts: earlier.sentParts
            )
            let progress = UploadProgress()
            if isWhole {
                progress.restore(upload, of: subject)
                #expect(progress.recorder(for: subject).earlier == earlier)
            } else {
                let store = self.mount.fileSystem.staging
                let partial = try store.makeFile(for: path("p"), size: 350)
                let other = UploadProgress.Subject(
                    staged: partial,
                    snapshot: partial.snapshot,
                    base: nil,
                    path: path("a")
                )
                progress.restore(upload, of: other)
                #expect(progress.recorder(for: other).earlier == nil)
            }
            try await self.mount.close(handle)
            try await self.mount.unlink("a")
        }
    }
}
