import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import BlockCaching

private let block = Int(BlockGeometry.blockByteCount)

@Suite("Readers that end beside others", .timeLimit(.minutes(5)))
struct ReaderEndTests {
    private let remote = InMemoryRemote()
    private let cache: BlockCache

    init() {
        self.cache = BlockCache(remote: self.remote, memoryBudget: 64 * block)
        self.remote.put("a", pattern(64 * block))
        self.remote.put("b", pattern(64 * block))
    }

    private func source(_ text: String, _ content: UInt64) -> BlockSource {
        BlockSource(content: ContentID(rawValue: content), size: UInt64(64 * block)) { path(text) }
    }

    private var file: BlockSource { self.source("a", 1) }

    private func bytes(_ blocks: Range<Int>) -> Range<UInt64> {
        UInt64(blocks.lowerBound * block)..<UInt64(blocks.upperBound * block)
    }

    private func settle() async {
        while self.cache.state.withLock({ !$0.loading.isEmpty }) { await Task.yield() }
    }

    /// So much of another file is read that memory has no room for what goes first.
    private func readAnother(_ blocks: Range<Int>) async throws {
        _ = try await self.cache.read(self.source("b", 2), self.bytes(blocks))
    }

    @Test("A reader that ends leaves alone what was fetched ahead of others of the same file")
    func others() async throws {
        let (first, second) = (self.cache.makeReader(), self.cache.makeReader())
        first.readAhead(self.file, self.bytes(0..<16))
        second.readAhead(self.file, self.bytes(24..<56))
        await self.settle()
        try await self.readAnother(0..<16)
        first.close()
        try await self.readAnother(16..<48)
        self.remote.forgetCalls()
        _ = try await self.cache.read(self.file, self.bytes(24..<56))
        #expect(self.remote.calls == [])
        // What was its own went first.
        _ = try await self.cache.read(self.file, self.bytes(0..<16))
        #expect(self.remote.calls == ["read a 0-\(16 * block)"])
        second.close()
    }

    @Test("What two readers were to read stays, here and on its way, when one of them ends")
    func both() async throws {
        let hold = self.remote.hold(.read)
        let (first, second) = (self.cache.makeReader(), self.cache.makeReader())
        first.readAhead(self.file, self.bytes(0..<16))
        second.readAhead(self.file, self.bytes(0..<16))
        await hold.reached()
        first.close()
        hold.release()
        await self.settle()
        let third = self.cache.makeReader()
        third.readAhead(self.file, self.bytes(0..<16))
        third.close()
        try await self.readAnother(0..<64)
        _ = try await self.cache.read(self.file, self.bytes(0..<16))
        #expect(self.remote.calls.filter { $0.hasPrefix("read a") } == ["read a 0-\(16 * block)"])
        second.close()
    }

    @Test("What was fetched ahead of a reader that ended goes on for who joined it, and no longer")
    func joined() async {
        let hold = self.remote.hold(.read)
        let reader = self.cache.makeReader()
        reader.readAhead(self.file, self.bytes(0..<16))
        await hold.reached()
        guard case .pending(let read) = self.cache.read(self.file, self.bytes(5..<6), completion: { _ in })
        else {
            Issue.record("not pending")
            return
        }
        reader.close()
        #expect(self.cache.readAheadRoom == 64 * block / 8 * 7)
        read.cancel()
        hold.release()
        await self.remote.ended(.read)
        #expect(self.remote.readByteCount == 0)
    }
}
