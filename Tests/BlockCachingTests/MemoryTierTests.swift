import Primitives
import Testing

@testable import BlockCaching

@Suite("Blocks in memory")
struct MemoryTierTests {
    private func key(_ index: UInt64) -> BlockKey { BlockKey(ContentID(rawValue: 1), index) }

    @Test("Blocks take no more than the budget")
    func budget() {
        var tier = MemoryTier(budget: 350)
        for index in 0..<10 {
            tier.insert(self.key(UInt64(index)), ByteBuffer(count: 100))
            #expect(tier.byteCount <= 350)
        }
        #expect(tier.count == 3)
    }

    @Test("A block that was read stays when one that was not can go")
    func secondChance() {
        var tier = MemoryTier(budget: 300)
        for index in 0..<3 { tier.insert(self.key(UInt64(index)), ByteBuffer(count: 100)) }
        _ = tier.get(self.key(0))
        for index in 3..<5 { tier.insert(self.key(UInt64(index)), ByteBuffer(count: 100)) }
        #expect(tier.contains(self.key(0)))
        #expect(!tier.contains(self.key(1)))
        #expect(!tier.contains(self.key(2)))
    }

    @Test("When every block was read the oldest goes, not none")
    func allRead() {
        var tier = MemoryTier(budget: 200)
        for index in 0..<2 {
            tier.insert(self.key(UInt64(index)), ByteBuffer(count: 100))
            _ = tier.get(self.key(UInt64(index)))
        }
        tier.insert(self.key(2), ByteBuffer(count: 100))
        #expect(tier.byteCount == 200)
    }

    @Test("A block larger than the budget is held alone")
    func large() {
        var tier = MemoryTier(budget: 50)
        tier.insert(self.key(0), ByteBuffer(count: 100))
        #expect(tier.contains(self.key(0)))
        tier.insert(self.key(1), ByteBuffer(count: 100))
        #expect(tier.count == 1)
    }

    @Test("A block put in twice is counted once")
    func counting() {
        var tier = MemoryTier(budget: 1000)
        tier.insert(self.key(0), ByteBuffer(count: 100))
        tier.insert(self.key(0), ByteBuffer(count: 100))
        #expect(tier.byteCount == 100)
    }
}
