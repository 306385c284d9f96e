import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import BlockCaching

private let block = Int(BlockGeometry.blockByteCount)

// Comparing many megabytes takes minutes with a sanitizer.
@Suite("Readers that end beside others", .timeLimit(.minutes(5)))
struct ReaderEndTests {
    private let remote = InMemoryRemote()
    private let cache: BlockCache

    init() {
        self.cache = BlockCache(remote: self.remote, memoryBudget: 64 * block)
        self.remote.put("a", pattern(256 * block))
        self.remote.put("b", pattern(64 * block))
    }

    private func source(_ text: String, _ content: UInt64, blocks: Int) -> BlockSource {
        BlockSource(content: ContentID(rawValue: content), size: UInt64(blocks * block)) { path(text) }
    }

    private var large: BlockSource { self.source("a", 1, blocks: 256) }

    /// Reads blocks in order, two at a time, as `cat` does, and waits until all that it had fetched ahead is here.
    private func stream(_ reader: BlockReader, _ source: BlockSource, _ blocks: Range<Int>) async {
        for first in stride(from: blocks.lowerBound, to: blocks.upperBound, by: 2) {
            let range = UInt64(first * block)..<UInt64((first + 2) * block)
            let answer = OneShot<Int>()
            let outcome = reader.read(source, range) { result in
                answer.resolve((try? result.get())?.reduce(0) { $0 + $1.range.count } ?? -1)
            }
            if case .pending = outcome { #expect(await answer.wait() == 2 * block) }
        }
        while self.remote.isBusy { await Task.yield() }
    }

    @Test("Two readers of parts of one file fetch nothing twice although one of them ends before the other")
    func partsOfOneFile() async {
        let (first, second) = (self.cache.makeReader(), self.cache.makeReader())
        await self.stream(first, self.large, 0..<64)
        let before = self.remote.readByteCount
        await self.stream(second, self.large, 128..<144)
        #expect(self.remote.readByteCount > before + 20 * block)
        first.close()
        await self.stream(second, self.large, 144..<256)
        #expect(self.remote.readByteCount == before + 128 * block)
        second.close()
    }

    @Test("What was fetched ahead of a reader that ended goes on for who joined it, and no longer")
    func joinedFetch() async throws {
        let hold = self.remote.hold(.read)
        let reader = self.cache.makeReader()
        // As the kernel asks at the start of a file that is read on: the rest is fetched ahead.
        let outcome = reader.read(self.large, 0..<UInt64(4 * block)) { _ in }
        guard case .pending(let own) = outcome else {
            Issue.record("not pending")
            return
        }
        await hold.reached(2)
        let other = self.cache.read(self.large, UInt64(5 * block)..<UInt64(5 * block + 10)) { _ in }
        guard case .pending(let joined) = other else {
            Issue.record("not pending")
            return
        }
        own.cancel()
        reader.close()
        #expect(self.cache.readAheadRoom == 64 * block / 8 * 7)
        joined.cancel()
        hold.release()
        while self.remote.isBusy { await Task.yield() }
        #expect(self.remote.readByteCount == 0)
    }

    @Test("Two readers of one file fetch it once although the one that is ahead ends early")
    func sameFile() async throws {
        let (first, second) = (self.cache.makeReader(), self.cache.makeReader())
        _ = try await self.cache.read(self.source("b", 2, blocks: 64), 0..<UInt64(64 * block))
        let before = self.remote.readByteCount
        await self.stream(first, self.large, 0..<16)
        await self.stream(second, self.large, 0..<16)
        first.close()
        await self.stream(second, self.large, 16..<256)
        #expect(self.remote.readByteCount == before + 256 * block)
        second.close()
    }
}
