import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing

@testable import BlockCaching

private let block = Int(BlockGeometry.blockByteCount)

@Suite("First blocks that came before the version was known", .timeLimit(.minutes(5)))
struct HeadTests {
    private let start = ContinuousClock.now

    private func sink(_ bytes: [UInt8]) -> HeadSink {
        let sink = HeadSink { self.start }
        // In pieces, as from a network.
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(10_007)
            #expect(piece.withUnsafeBytes { sink.receive($0) })
            rest = rest.dropFirst(piece.count)
        }
        return sink
    }

    @Test(
        "What came is a file's first block only if it is exactly as long as that",
        arguments: [1, 4096, 65_535]
    )
    func fits(count: Int) throws {
        let sink = self.sink(pattern(count))
        let buffer = try #require(sink.block(ofFileOfSize: UInt64(count), seen: self.start))
        #expect(Array(buffer.bytes) == pattern(count))
        #expect(sink.block(ofFileOfSize: UInt64(count) + 1, seen: self.start) == nil)
        #expect(sink.block(ofFileOfSize: UInt64(count) - 1, seen: self.start) == nil)
        #expect(sink.block(ofFileOfSize: 1 << 30, seen: self.start) == nil)
    }

    @Test("A whole block is the first of every file that is as large at least")
    func whole() throws {
        let sink = self.sink(pattern(block))
        #expect(sink.block(ofFileOfSize: UInt64(block), seen: self.start)?.count == block)
        #expect(sink.block(ofFileOfSize: 1 << 30, seen: self.start)?.count == block)
        #expect(sink.block(ofFileOfSize: 100, seen: self.start) == nil)
    }

    @Test("A whole block is not taken for the first of a file whose size came long after it")
    func sizeCameLate() {
        let whole = self.sink(pattern(block))
        #expect(whole.block(ofFileOfSize: 1 << 30, seen: self.start - .seconds(9)) != nil)
        #expect(whole.block(ofFileOfSize: 1 << 30, seen: self.start + .milliseconds(900)) != nil)
        #expect(whole.block(ofFileOfSize: 1 << 30, seen: self.start + .milliseconds(1100)) == nil)
        // It may be all that a longer file begins with.
        #expect(whole.block(ofFileOfSize: UInt64(block), seen: self.start + .seconds(2)) == nil)
        let short = self.sink(pattern(100))
        #expect(short.block(ofFileOfSize: 100, seen: self.start + .seconds(60)) != nil)
    }

    @Test("More than a block is refused, and nothing is the block of no file")
    func overflow() {
        let sink = self.sink(pattern(block))
        #expect(![UInt8(1)].withUnsafeBytes { sink.receive($0) })
        #expect(HeadSink().block(ofFileOfSize: 0, seen: self.start) == nil)
        #expect(HeadSink().block(ofFileOfSize: 100, seen: self.start) == nil)
    }

    @Test("Blocks that are put in keep to what others leave of the memory")
    func budget() throws {
        let used = Atomic(0)
        let cache = BlockCache(
            remote: InMemoryRemote(),
            memoryBudget: 8 * block,
            usedByOthers: { _ in used.load(ordering: .relaxed) }
        )
        for content in 1...20 {
            let source = BlockSource(content: ContentID(rawValue: UInt64(content)), size: 1 << 20) {
                path("a")
            }
            let head = self.sink(pattern(block)).block(ofFileOfSize: 1 << 20, seen: self.start)
            cache.insert(source, block: 0, try #require(head)) { true }
            if content == 10 {
                #expect(cache.statistics.memoryByteCount == 8 * block)
                used.store(3 * block, ordering: .relaxed)
            }
        }
        #expect(cache.statistics.memoryByteCount == 5 * block)
    }

    @Test("A block that was put in is read without a request")
    func inserted() async throws {
        let remote = InMemoryRemote()
        let cache = BlockCache(remote: remote, memoryBudget: 1 << 20)
        let source = BlockSource(content: ContentID(rawValue: 7), size: 100) { path("a") }
        let head = self.sink(pattern(100)).block(ofFileOfSize: 100, seen: self.start)
        cache.insert(source, block: 0, try #require(head)) { true }
        #expect(try await cache.read(source, 10..<20).flatMap { Array($0.bytes) } == pattern(10, from: 10))
        #expect(remote.calls.isEmpty)
    }
}
