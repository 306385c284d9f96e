import BlockCaching
import Primitives
import TestKit
import Testing

@testable import VFS

@Suite(
    "Reads of a file that is partly here, while its bytes on the service become others",
    .timeLimit(.minutes(5))
)
struct MixedReadTests {
    /// A filesystem with a file `f` and one, `other`, that puts it out of memory where it is read.
    private func mount() throws -> Mount {
        let mount = try Mount(.strict, blockBudget: 128 << 10)
        mount.remote.put("f", pattern(300_000))
        mount.remote.put("other", pattern(512 << 10))
        return mount
    }

    @Test(
        "Who reads a file that was cut here gets its bytes, though the service's answer to its upload is on its way"
    )
    func completing() async throws {
        let mount = try self.mount()
        let inode = try await mount.inode("f")
        let writer = try await mount.open("f", writes: true)
        try await mount.fileSystem.truncate(inode, to: 290_000, through: writer)
        let complete = mount.remote.hold(.completeUpload, .beforeAnswering)
        let closing = Task { try await mount.close(writer) }
        await complete.reached()
        _ = try await mount.get("other")
        let reader = try await mount.open("f")
        defer { mount.fileSystem.release(reader) }
        let count = mount.remote.count(.read)
        let reading = Task { try await mount.read(reader, 280_000..<290_000) }
        await mount.remote.ended(.read, count + 2)
        complete.release()
        #expect(try await reading.value == pattern(10_000, from: 280_000))
        try await closing.value
    }

    @Test(
        "Who reads a file that is written to gets its bytes, though it is renamed before they are asked for"
    )
    func renamed() async throws {
        let mount = try self.mount()
        let writer = try await mount.open("f", writes: true)
        try await mount.write(writer, [255])
        let complete = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("f", "g") }
        await complete.reached()
        _ = try await mount.get("other")
        let reads = mount.remote.hold(.read)
        let reading = Task { try await mount.read(writer, 200_000..<200_100) }
        await reads.reached()
        complete.release()
        try await renaming.value
        reads.release()
        #expect(try await reading.value == pattern(100, from: 200_000))
        try await mount.close(writer)
    }

    @Test("Who writes to a file that is being fetched ahead of a walk, and reads on, gets its bytes")
    func fetchedAhead() async throws {
        let hook = Hook()
        // Asked for the time before a request is sent.
        let mount = try Mount(blockTime: {
            hook.runOnce()
            return .now
        })
        for name in ["d/f100", "d/f101", "d/f102"] { mount.remote.put(name, pattern(200_000)) }
        _ = try await mount.list("d")
        let writer = try await mount.open("d/f102", writes: true)
        defer { mount.fileSystem.release(writer) }
        let inode = try await mount.inode("d/f102")
        let version = try #require(mount.fileSystem.namespace.knownVersion(of: inode))
        let one = ByteBuffer(count: 1)
        one.uninitialized.copyBytes(from: [255])
        let answer = OneShot<Result<[ByteSlice], BlockError>>()
        hook.set {
            _ = try? mount.fileSystem.writeNow(writer, one.bytes, at: 0, by: Mount.process)
            // What a read does of a file that is partly here.
            let source = BlockSource(content: version.content, size: version.size) {
                mount.fileSystem.namespace.path(of: inode)
            }
            let outcome = mount.fileSystem.cache.read(source, 100_000..<100_010) { answer.resolve($0) }
            if case .ready = outcome { Issue.record("nothing is fetched ahead") }
        }
        for name in ["d/f100", "d/f101"] {
            mount.fileSystem.ahead.didBeginReading(try await mount.inode(name), size: 10, at: 0)
        }
        let slices = try #require(await answer.wait()).get()
        #expect(slices.flatMap { Array($0.bytes) } == pattern(10, from: 100_000))
    }
}
