import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What is done to a file while it is uploaded", .timeLimit(.minutes(5)))
struct RunningUploadTests {
    /// A new file whose close waits in a call.
    private func closing(
        _ mount: Mount,
        _ bytes: [UInt8],
        heldAt kind: CallKind,
        while body: (FileHandle, Hold) async throws -> Void
    ) async throws {
        let handle = try await mount.create("a")
        try await mount.write(handle, bytes)
        let hold = mount.remote.hold(kind)
        let closing = Task {
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        await hold.reached()
        try await body(handle, hold)
        hold.release()
        try await closing.value
        mount.fileSystem.release(handle)
    }

    @Test(
        "A write is in what the close put on the service, whole",
        arguments: [CallKind.beginUpload, .putPart]
    )
    func write(kind: CallKind) async throws {
        let mount = try Mount()
        try await self.closing(mount, pattern(100), heldAt: kind) { handle, _ in
            try await mount.write(handle, [255], at: 50)
            #expect(try await mount.read(handle, 50..<51) == [255])
        }
        #expect(mount.fileSystem.unsent.fileCount == 0)
        var expected = pattern(100)
        expected[50] = 255
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("A read of what a write waits to change waits for it, as the kernel keeps what it reads")
    func readAfterWrite() async throws {
        let mount = try Mount()
        try await mount.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [1], at: 99)
        let answer = OneShot<Result<[ByteSlice], FileSystemError>>()
        let writing = try await handle.content.writers.alone {
            let byte = ByteBuffer(count: 1)
            byte.uninitialized.copyBytes(from: [255])
            #expect(try !mount.fileSystem.writeNow(handle, byte.bytes, at: 50, by: Mount.process))
            handle.announceWrite(50..<51)
            let isPending =
                if case .pending = try mount.fileSystem.read(
                    handle,
                    0..<100,
                    completion: { answer.resolve($0) }
                ) { true } else { false }
            #expect(isPending)
            #expect(try await mount.read(handle, 0..<50) == pattern(50))
            let announced = handle.announcedWrite(50..<51)
            let held = try mount.fileSystem.hold(byte.bytes)
            return Task {
                defer { withExtendedLifetime(announced) {} }
                try await mount.fileSystem.write(handle, held, at: 50, by: Mount.process)
            }
        }
        try await writing.value
        var expected = pattern(99) + [1]
        expected[50] = 255
        #expect(try await answer.wait()?.get().flatMap { Array($0.bytes) } == expected)
        try await mount.close(handle)
    }

    @Test("A read that is given up while it waits for a write is answered")
    func cancelledReadAfterWrite() async throws {
        let mount = try Mount()
        try await mount.put("a", pattern(100))
        let handle = try await mount.open("a", writes: true)
        handle.announceWrite(0..<1)
        let answer = OneShot<Result<[ByteSlice], FileSystemError>>()
        let outcome = try mount.fileSystem.read(handle, 0..<100) { answer.resolve($0) }
        if case .pending(let cancel) = outcome { cancel() }
        #expect(await answer.wait().map { if case .failure = $0 { true } else { false } } == true)
        _ = handle.announcedWrite(0..<1)
        try await mount.close(handle)
    }

    @Test(
        "A file that is cut is uploaded anew, and the close does not fail",
        arguments: [CallKind.beginUpload, .putPart]
    )
    func truncate(kind: CallKind) async throws {
        let mount = try Mount()
        try await self.closing(mount, pattern(100), heldAt: kind) { handle, _ in
            try await mount.fileSystem.truncate(handle.content.inode, to: 10, through: handle)
        }
        #expect(mount.remote.bytes(of: "a") == pattern(10))
    }

    @Test("Who waits for all uploads and goes away leaves them alone")
    func abandonedDrain() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        let hold = mount.remote.hold(.putPart)
        let draining = Task { await mount.fileSystem.drain() }
        await hold.reached()
        draining.cancel()
        #expect(await draining.value.isEmpty)
        hold.release()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        #expect(mount.remote.count(.putPart) == 1)
        mount.fileSystem.release(handle)
    }

    @Test("A write after the last moment to stop waits here for the next close")
    func writeTooLate() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.completeUpload)
        let closing = Task {
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        await hold.reached()
        try await mount.write(handle, [2])
        hold.release()
        try await closing.value
        #expect(try await mount.read(handle) == [2])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [2])
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test(
        "A writer that is always faster is made to wait after two attempts, and then is not kept from writing"
    )
    func fasterWriter() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [0])
        var hold = mount.remote.hold(.putPart)
        let closing = Task { try await mount.fileSystem.flush(handle, by: Mount.process) }
        for attempt in 1...2 {
            await hold.reached()
            try await mount.write(handle, [UInt8(attempt)])
            let held = hold
            // Before the next attempt can begin; the last one is not held.
            if attempt == 1 { hold = mount.remote.hold(.putPart) }
            held.release()
        }
        try await closing.value
        #expect(mount.remote.bytes(of: "a") == [2])
        try await mount.write(handle, [3])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [3])
    }

    @Test("A cancelled close stops waiting; the upload goes on")
    func cancelledClose() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.putPart)
        let closing = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            }
        }
        await hold.reached()
        closing.cancel()
        #expect(await closing.value == .interrupted)
        hold.release()
        await mount.remote.ended(.completeUpload)
        #expect(mount.remote.bytes(of: "a") == [1])
        mount.fileSystem.release(handle)
    }

    @Test("Two closes at once upload once")
    func twoCloses() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.putPart)
        let first = Task { try await mount.fileSystem.fsync(handle) }
        await hold.reached()
        let second = Task.immediate { try await mount.fileSystem.fsync(handle) }
        hold.release()
        try await first.value
        try await second.value
        #expect(mount.remote.count(.completeUpload) == 1)
        try await mount.close(handle)
    }

    @Test("A rename waits for the upload, and what was written meanwhile goes to the new name")
    func rename() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.putPart)
        let closing = Task { try await mount.fileSystem.flush(handle, by: Mount.process) }
        await hold.reached()
        let renaming = Task.immediate { try await mount.rename("a", "b") }
        hold.release()
        try await closing.value
        try await renaming.value
        try await mount.write(handle, [2])
        try await mount.close(handle)
        #expect(mount.remote.tree == ["b"])
        #expect(mount.remote.bytes(of: "b") == [2])
    }

    @Test("A file that is unlinked while it is uploaded is not on the service afterwards")
    func unlink() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        let hold = mount.remote.hold(.putPart)
        let closing = Task { try await mount.fileSystem.flush(handle, by: Mount.process) }
        await hold.reached()
        let unlinking = Task.immediate { try await mount.unlink("a") }
        hold.release()
        try await closing.value
        try await unlinking.value
        mount.fileSystem.release(handle)
        #expect(mount.remote.tree.isEmpty)
        #expect(try await !mount.exists("a"))
    }

    @Test(
        "A reader of the old bytes that is under way when the file is replaced gets whole bytes of one version"
    )
    func readerMeetsReplacement() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let reader = try await mount.open("a")
        let hold = mount.remote.hold(.read)
        let reading = Task { try await mount.read(reader, 0..<100) }
        await hold.reached()
        hold.release()
        try await mount.put("b", pattern(100, from: 7))
        try await mount.rename("b", "a")
        let bytes = try await reading.value
        #expect(bytes == pattern(100) || bytes == pattern(100, from: 7))
        #expect(try await mount.read(reader, 0..<100) == pattern(100))
        mount.fileSystem.release(reader)
        #expect(try await mount.get("a") == pattern(100, from: 7))
    }

    @Test("Writes that are more than may wait in memory wait on the local disk, and leave nothing there")
    func heldOnDisk() async throws {
        var options = WriteOptions()
        options.heldByteLimit = 100
        let mount = try Mount(writes: options)
        let handle = try await mount.create("a")
        do {
            let held = try (0..<3).map { part in
                try pattern(80, from: part * 80).withUnsafeBytes { try mount.fileSystem.hold($0) }
            }
            // What was written to the file itself, and two of them.
            #expect(mount.staged.count == 3)
            for (part, bytes) in held.enumerated() {
                try await mount.fileSystem.write(handle, bytes, at: UInt64(part * 80), by: Mount.process)
            }
        }
        #expect(mount.staged.count == 1)
        // There is room in memory again.
        _ = try pattern(80).withUnsafeBytes { try mount.fileSystem.hold($0) }
        #expect(mount.staged.count == 1)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(240))
    }
}
