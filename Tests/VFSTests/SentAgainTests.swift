import Primitives
import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import VFS

@Suite("An upload that is sent again, as an answer was lost", .timeLimit(.minutes(5)))
struct SentAgainTests {
    private static let lanes = UploadLanes(maximumCount: 1, partSize: 50)

    /// A file of 10 bytes, open, that is changed to 100.
    private func changed(_ mount: Mount) async throws -> FileHandle {
        mount.remote.put("a", pattern(10))
        _ = try await mount.size("a")
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(100))
        return handle
    }

    /// Does something that uploads 100 bytes: they become the file, the answer to that is lost, the next one is that the
    /// service does not know the upload, and all is sent again.
    ///
    /// - Parameters:
    ///   - mount: Where.
    ///   - upload: What it is.
    ///   - body: Called when the first part is sent again, with what it waits for.
    /// - Throws: What these throw.
    private func sendingAgain(
        _ mount: Mount,
        by upload: @escaping @Sendable () async throws -> Void,
        while body: (Hold) async throws -> Void
    ) async throws {
        mount.faulty.loseAnswer(.completeUpload, with: .notFound)
        let completed = mount.remote.hold(.completeUpload, .beforeAnswering)
        let uploading = Task { try await upload() }
        await completed.reached()
        let hold = mount.remote.hold(.putPart)
        completed.release()
        await hold.reached()
        try await body(hold)
        hold.release()
        try await uploading.value
    }

    @Test("What may be there stays in doubt if a writer is faster than what is sent again")
    func outrun() async throws {
        let mount = try Mount()
        let handle = try await self.changed(mount)
        try await self.sendingAgain(mount, by: { try await mount.fileSystem.fsync(handle) }) { _ in
            try await mount.write(handle, [255], at: 50)
        }
        // Of a size that is in doubt another answer that is lost proves nothing.
        #expect(mount.remote.previousSizes == [10, 100])
        try await mount.close(handle)
        var expected = pattern(100)
        expected[50] = 255
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("What may be there is not taken for somebody else's if a writer is faster than what is sent again")
    func outrunInBackground() async throws {
        let mount = try Mount(writes: .waiting)
        let handle = try await self.changed(mount)
        try await mount.fileSystem.fsync(handle)
        try await self.sendingAgain(mount, by: { #expect(await mount.fileSystem.drain().isEmpty) }) { _ in
            try await mount.write(handle, pattern(70, from: 7))
            try await mount.fileSystem.truncate(handle.content.inode, to: 70, through: handle)
        }
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"])
        #expect(mount.remote.bytes(of: "a") == pattern(70, from: 7))
    }

    @Test("An upload of many parts is not taken for somebody else's as it is sent again")
    func ownBytes() async throws {
        let mount = try Mount(lanes: Self.lanes, writes: .waiting)
        let handle = try await self.changed(mount)
        try await mount.close(handle)
        try await self.sendingAgain(mount, by: { #expect(await mount.fileSystem.drain().isEmpty) }) { _ in }
        #expect(mount.remote.tree == ["a"])
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        #expect(mount.fileSystem.uploadStatus.conflictCount == 0)
    }

    @Test("What is sent again is stopped by an unlink, as what is sent for the first time")
    func stopped() async throws {
        let mount = try Mount(writes: .waiting)
        let handle = try await self.changed(mount)
        try await mount.close(handle)
        try await self.sendingAgain(mount, by: { _ = await mount.fileSystem.drain() }) { hold in
            let unlinking = Task.immediate { try await mount.unlink("a") }
            hold.release()
            try await unlinking.value
        }
        #expect(mount.remote.count(.completeUpload) == 1)
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("What a rename may have left there stays in doubt if a writer is faster than what is sent again")
    func renamed() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true)
        _ = try await mount.get("a")
        try await self.sendingAgain(mount, by: { try await mount.rename("a", "b") }) { _ in
            try await mount.write(handle, [255], at: 50)
        }
        try await mount.close(handle)
        #expect(mount.remote.previousSizes.prefix(2) == [nil, 100])
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b")?[50] == 255)
    }
}
