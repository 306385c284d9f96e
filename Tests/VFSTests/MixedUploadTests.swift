import BlockCaching
import Primitives
import RemoteAPI
import Synchronization
import SystemPackage
import TestKit
import Testing
import Transport
import WireFormat

@testable import Staging
@testable import VFS

@Suite("Uploads of what is partly here", .timeLimit(.minutes(5)))
struct MixedUploadTests {
    @Test("A small write into a large file is uploaded with a little of it in memory at any time")
    func bounded() async throws {
        let size: UInt64 = 64 << 20
        let remote = EndlessRemote(size: size)
        let cache = BlockCache(remote: remote, memoryBudget: 16 << 20)
        let directory = TemporaryDirectory()
        let store = try StagingStore(
            in: CacheDirectory(
                in: FilePath(directory.path).appending("cache"),
                for: try #require(FilesystemID("f-1"))
            ),
            logger: CapturedLog().logger
        )
        let staged = try store.makeFile(for: path("a"), size: size)
        let written = ByteBuffer(count: 4096)
        written.uninitialized.copyBytes(from: [UInt8](repeating: 7, count: 4096))
        try staged.write(written.bytes, at: 30 << 20)
        let base = BlockSource(content: ContentID(rawValue: 1), size: size) { path("a") }
        let memory = Mutex(0)
        let part: UInt64 = 8 << 20
        for lower in stride(from: 0, to: size, by: Int(part)) {
            let body = MixedBodyReader(lower..<lower + part, staged: staged, base: base, cache: cache) {
                Issue.record("\($0)")
            }
            let held = await remote.take(body)
            memory.withLock { $0 = max($0, held) }
        }
        // What was asked for and not sent yet: what is sent now, and what is asked for ahead of that.
        #expect(memory.withLock { $0 } <= 6 << 20)
        // The block that was written to comes too, once, for the bytes around.
        #expect(remote.readByteCount == size)
        staged.discard()
    }

    @Test(
        "However scattered the writes into a large file are, it is in few pieces here, and none of them is lost",
        arguments: [WriteOptions.Mode.sync, .writeBack]
    )
    func scattered(mode: WriteOptions.Mode) async throws {
        let mount = try Mount(writes: WriteOptions(mode: mode), extentLimit: 16)
        var expected = pattern(1 << 20)
        mount.remote.put("a", expected)
        let handle = try await mount.open("a", writes: true)
        var random = SeededGenerator(seed: 7)
        for (index, block) in (0..<256).shuffled(using: &random).enumerated() {
            let offset = block << 12 + 100
            let bytes = [UInt8](repeating: UInt8(index), count: 50)
            try await mount.write(handle, bytes, at: offset)
            expected.replaceSubrange(offset..<offset + 50, with: bytes)
            let count = try #require(handle.content.staged).state.withLock { $0.extents.extents.count }
            #expect(count <= 16)
            if index == 100 { try await mount.fileSystem.fsync(handle) }
        }
        try await mount.close(handle)
        await mount.waitUntilUploaded()
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("Without the service, a write that would make too many pieces fails, and nothing is lost")
    func scatteredInVain() async throws {
        let mount = try Mount(writes: .waiting, extentLimit: 2)
        mount.remote.put("a", pattern(10 << 20))
        let handle = try await mount.open("a", writes: true)
        mount.faulty.fail(.read, with: .unavailable("500"), count: .max)
        try await mount.write(handle, [1], at: 1 << 20)
        try await mount.write(handle, [2], at: 3 << 20)
        await #expect(throws: FileSystemError.self) { try await mount.write(handle, [3], at: 5 << 20) }
        mount.faulty.heal()
        try await mount.write(handle, [3], at: 5 << 20)
        try await mount.close(handle)
        #expect(await mount.fileSystem.drain().isEmpty)
        var expected = pattern(10 << 20)
        for number in 1...3 { expected[(2 * number - 1) << 20] = UInt8(number) }
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("A retried part is sent from its beginning again, of blocks that are here")
    func again() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(1_000_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 500_000)
        let staged = try #require(handle.content.staged)
        let base = try #require(handle.content.state.withLock { $0.base })
        let body = MixedBodyReader(
            1000..<900_000,
            staged: staged,
            base: BlockSource(content: base.content, size: base.size) { path("a") },
            cache: mount.fileSystem.cache
        ) { Issue.record("\($0)") }
        var expected = Array(pattern(1_000_000)[1000..<900_000])
        expected[499_000] = 255
        #expect(await body.readAll() == expected)
        let count = mount.remote.readByteCount
        #expect(await body.readAll() == expected)
        #expect(mount.remote.readByteCount == count)
        try await mount.close(handle)
    }

    @Test("What was read before is not downloaded again for the upload")
    func cached() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(3_000_000))
        _ = try await mount.get("a")
        mount.remote.forgetCalls()
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 1_500_000)
        try await mount.close(handle)
        var expected = pattern(3_000_000)
        expected[1_500_000] = 255
        #expect(mount.remote.bytes(of: "a") == expected)
        #expect(mount.remote.readByteCount == 0)
    }

    @Test("A file that turns out to be shorter on the service fails the close, and stays as it is there")
    func changed() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(3_000_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 1_500_000)
        mount.remote.put("a", pattern(1_000_000))
        let error = await failure { () throws(FileSystemError) in
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        #expect(error == .changedOnServer)
        #expect(mount.remote.bytes(of: "a") == pattern(1_000_000))
        #expect(mount.remote.count(.completeUpload) == 0)
        mount.fileSystem.release(handle)
    }

    @Test("A file that is met once as shorter than it is goes up whole: renamed, changed, or cut")
    func shortOnce() async throws {
        let mount = try Mount()
        for name in ["a", "b", "c"] { mount.remote.put(name, pattern(300_000)) }
        mount.remote.shortenNextRead(by: 1)
        try await mount.rename("a", "d")
        #expect(mount.remote.bytes(of: "d") == pattern(300_000))
        mount.remote.shortenNextRead(by: 1)
        try await mount.truncate("b", to: 200_000)
        #expect(mount.remote.bytes(of: "b") == pattern(200_000))
        mount.remote.shortenNextRead(by: 1)
        let handle = try await mount.open("c", writes: true)
        try await mount.write(handle, [255], at: 100_000)
        try await mount.close(handle)
        var expected = pattern(300_000)
        expected[100_000] = 255
        #expect(mount.remote.bytes(of: "c") == expected)
    }

    @Test("A download that fails for the upload is what the close fails with")
    func failedDownload() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(3_000_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 1_500_000)
        mount.faulty.fail(.read, with: .forbidden, count: 100)
        let error = await failure { () throws(FileSystemError) in
            try await mount.fileSystem.flush(handle, by: Mount.process)
        }
        #expect(error == .remote(.forbidden))
        mount.faulty.heal()
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a")?[1_500_000] == 255)
    }
}

/// A service with one file of zeros, which counts what it was asked for and has not got back yet.
private final class EndlessRemote: RemoteFilesystem {
    private struct State {
        var readByteCount: UInt64 = 0
        var sentByteCount: UInt64 = 0
    }

    private let fileSize: UInt64
    private let state = Mutex(State())

    init(size: UInt64) { self.fileSize = size }

    var capabilities: ServerCapabilities { .bare }
    var readByteCount: UInt64 { self.state.withLock { $0.readByteCount } }

    /// Takes a body whole.
    ///
    /// - Returns: The most bytes that had been read and not taken.
    func take(_ body: some BodyReader) async -> Int {
        var held = 0
        let buffer = ByteBuffer(count: 512 << 10)
        var offset: UInt64 = 0
        while offset < body.count {
            let resumed = OneShot<Void>()
            if !body.isReady(at: offset, { resumed.resolve(()) }) {
                _ = await resumed.wait()
                continue
            }
            let (read, sent) = self.state.withLock { ($0.readByteCount, $0.sentByteCount) }
            held = max(held, Int(read) - Int(sent))
            guard let count = body.read(at: offset, into: buffer.uninitialized) else {
                Issue.record("the body ends at \(offset)")
                return held
            }
            offset += UInt64(count)
            self.state.withLock { $0.sentByteCount += UInt64(count) }
        }
        return held
    }

    func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64 {
        self.state.withLock { $0.readByteCount += UInt64(range.count) }
        let zeros = [UInt8](repeating: 0, count: 64 << 10)
        var left = range.count
        while left > 0 {
            let piece = zeros.prefix(left)
            guard piece.withUnsafeBytes({ sink.receive($0) }) else { throw .cancelled }
            left -= piece.count
        }
        return UInt64(range.count)
    }

    func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64 {
        self.fileSize
    }

    func list(_ directory: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> RemoteListing {
        throw .notFound
    }

    func makeDirectory(_ directory: RemotePath) async throws(RemoteError) { throw .forbidden }

    func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID {
        throw .forbidden
    }

    func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError) { throw .forbidden }

    func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError) { throw .forbidden }

    func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError) { throw .forbidden }
}
