import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import BlockCaching

private let block = Int(BlockGeometry.blockByteCount)

@Suite("First blocks that came before the version was known", .timeLimit(.minutes(5)))
struct HeadTests {
    private func sink(_ bytes: [UInt8]) -> HeadSink {
        let sink = HeadSink()
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
        let buffer = try #require(sink.block(ofFileOfSize: UInt64(count)))
        #expect(Array(buffer.bytes) == pattern(count))
        #expect(sink.block(ofFileOfSize: UInt64(count) + 1) == nil)
        #expect(sink.block(ofFileOfSize: UInt64(count) - 1) == nil)
        #expect(sink.block(ofFileOfSize: 1 << 30) == nil)
    }

    @Test("A whole block is the first of every file that is as large at least")
    func whole() throws {
        let sink = self.sink(pattern(block))
        #expect(sink.block(ofFileOfSize: UInt64(block))?.count == block)
        #expect(sink.block(ofFileOfSize: 1 << 30)?.count == block)
        #expect(sink.block(ofFileOfSize: 100) == nil)
    }

    @Test("More than a block is refused, and nothing is the block of no file")
    func overflow() {
        let sink = self.sink(pattern(block))
        #expect(![UInt8(1)].withUnsafeBytes { sink.receive($0) })
        #expect(HeadSink().block(ofFileOfSize: 0) == nil)
        #expect(HeadSink().block(ofFileOfSize: 100) == nil)
    }

    @Test("A block that was put in is read without a request")
    func inserted() async throws {
        let remote = InMemoryRemote()
        let cache = BlockCache(remote: remote, memoryBudget: 1 << 20)
        let source = BlockSource(content: ContentID(rawValue: 7), size: 100) { path("a") }
        cache.insert(source, block: 0, try #require(self.sink(pattern(100)).block(ofFileOfSize: 100))) {
            true
        }
        #expect(try await cache.read(source, 10..<20).flatMap { Array($0.bytes) } == pattern(10, from: 10))
        #expect(remote.calls.isEmpty)
    }
}
