import BlockCaching
import TestKit
import Testing

@testable import VFS

@Suite("Bytes asked for ahead that nobody is going to read", .timeLimit(.minutes(5)))
struct ContentsGivenUpTests {
    private func names(_ count: Int) -> [String] { (100..<100 + count).map { "d/f\($0)" } }

    private func mount(_ count: Int, size: Int = 4096) throws -> Mount {
        let mount = try Mount()
        for name in self.names(count) { mount.remote.put(name, pattern(size)) }
        return mount
    }

    @Test("What was asked for beside a file's first bytes is given up with the handle")
    func givenUpRest() async throws {
        let mount = try self.mount(1, size: 200_000)
        _ = try await mount.list("d")
        let reads = mount.remote.hold(.read)
        _ = try await mount.stat("d/f100")
        await reads.reached()
        let handle = try await mount.open("d/f100")
        guard case .pending(let cancel) = try mount.fileSystem.read(handle, 0..<200_000, completion: { _ in })
        else {
            Issue.record("the read was answered before the bytes came")
            return
        }
        await reads.reached(2)
        cancel()
        mount.fileSystem.release(handle)
        reads.release()
        try await mount.settled()
        #expect(mount.remote.readByteCount == 65_536)
    }

    @Test("What a walk that stopped left unread is ahead of nobody any more")
    func leftovers() async throws {
        let mount = try self.mount(200)
        let cache = mount.fileSystem.cache
        _ = try await mount.list("d")
        let room = cache.readAheadRoom
        for name in self.names(20) { _ = try await mount.cat(name) }
        try await mount.settled()
        #expect(cache.readAheadRoom <= room - 20 * 4096)
        let reads = mount.remote.hold(.read)
        _ = try await mount.cat("d/f120")
        try await mount.reached { reads.count > 0 }
        // As long as a walk may stand still.
        mount.clock.advance(by: ReadWalks.patience)
        mount.remote.put("other", pattern(10))
        reads.release()
        _ = try await mount.cat("other")
        try await mount.settled()
        #expect(cache.readAheadRoom == room)
    }
}
