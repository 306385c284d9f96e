import Primitives
import Testing

@testable import BlockCaching

@Suite("Blocks in memory")
struct MemoryTierTests {
    /// What a block takes here.
    private let unit = ByteBuffer(count: 100).footprint

    private func key(_ index: Int) -> BlockKey { BlockKey(ContentID(rawValue: 1), UInt64(index)) }

    private func insert(_ tier: inout MemoryTier, _ indices: Range<Int>, aheadOf reader: UInt64? = nil) {
        for index in indices { tier.insert(self.key(index), ByteBuffer(count: 100), aheadOf: reader) }
    }

    private func held(_ tier: MemoryTier, _ indices: Range<Int>) -> [Int] {
        indices.filter { tier.contains(self.key($0)) }
    }

    @Test("Blocks take no more than the budget, and the oldest go")
    func budget() {
        var tier = MemoryTier(budget: 7 * self.unit / 2)
        for index in 0..<10 {
            self.insert(&tier, index..<index + 1)
            #expect(tier.byteCount <= 7 * self.unit / 2)
        }
        #expect(self.held(tier, 0..<10) == [7, 8, 9])
    }

    @Test("Blocks of a few bytes count with what is noted of them")
    func tinyBlocks() {
        var tier = MemoryTier(budget: 1 << 20)
        for index in 0..<10_000 { tier.insert(self.key(index), ByteBuffer(count: 10), aheadOf: nil) }
        #expect(tier.count > 2000 && tier.count < 4000)
    }

    @Test("One long scan does not push out what is read again and again")
    func scan() {
        var tier = MemoryTier(budget: 32 * self.unit)
        self.insert(&tier, 0..<8)
        for start in stride(from: 100, to: 400, by: 10) {
            self.insert(&tier, start..<start + 10)
            for index in 0..<8 { _ = tier.get(self.key(index)) }
        }
        self.insert(&tier, 1000..<3000)
        #expect(self.held(tier, 0..<8) == Array(0..<8))
    }

    @Test("What is held for the disk stays until it is released, and then goes before anything newer")
    func heldForTheDisk() {
        var tier = MemoryTier(budget: 10 * self.unit)
        for index in 0..<10 {
            self.insert(&tier, index..<index + 1)
            if index < 5 { tier.hold(self.key(index)) }
        }
        self.insert(&tier, 10..<15)
        #expect(self.held(tier, 0..<15) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14])
        for index in 0..<3 { tier.release(self.key(index)) }
        self.insert(&tier, 15..<18)
        #expect(self.held(tier, 0..<18) == [3, 4, 10, 11, 12, 13, 14, 15, 16, 17])
    }

    @Test("Where all that was read once is held, the oldest of it goes before what is read again")
    func heldTooMuch() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<4)
        self.insert(&tier, 10..<12)
        for index in 0..<4 { _ = tier.get(self.key(index)) }
        for index in 10..<30 {
            self.insert(&tier, index..<index + 1)
            tier.hold(self.key(index))
        }
        #expect(tier.byteCount == 10 * self.unit)
        #expect(self.held(tier, 0..<30) == [0, 1, 2, 3, 24, 25, 26, 27, 28, 29])
    }

    @Test("Two reads of a block at one time, as of its halves, do not make it one that is read again")
    func halves() {
        var tier = MemoryTier(budget: 32 * self.unit)
        for index in 0..<32 {
            self.insert(&tier, index..<index + 1)
            _ = tier.get(self.key(index))
            _ = tier.get(self.key(index))
        }
        self.insert(&tier, 100..<132)
        #expect(self.held(tier, 0..<32).isEmpty)
    }

    @Test("What is read again takes no more than half of the budget")
    func again() {
        var tier = MemoryTier(budget: 32 * self.unit)
        for _ in 0..<5 {
            self.insert(&tier, 0..<32)
            for index in 0..<32 { _ = tier.get(self.key(index)) }
        }
        self.insert(&tier, 100..<116)
        #expect(self.held(tier, 100..<116).count == 16)
    }

    @Test("What was fetched ahead and not read yet stays longest")
    func ahead() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<5, aheadOf: 1)
        self.insert(&tier, 10..<100)
        #expect(self.held(tier, 0..<5) == Array(0..<5))
        #expect(tier.aheadByteCount == 5 * self.unit)
        for index in 0..<5 { _ = tier.get(self.key(index)) }
        #expect(tier.aheadByteCount == 0)
        self.insert(&tier, 100..<200)
        #expect(self.held(tier, 0..<5).isEmpty)
    }

    @Test("What was fetched ahead for a reader that ended goes first")
    func givenUp() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<5)
        self.insert(&tier, 5..<9, aheadOf: 1)
        self.insert(&tier, 9..<10, aheadOf: 2)
        tier.giveUpAhead(of: 1)
        #expect(tier.aheadByteCount == self.unit)
        self.insert(&tier, 10..<14)
        #expect(self.held(tier, 0..<14) == [0, 1, 2, 3, 4, 9, 10, 11, 12, 13])
    }

    @Test("What was fetched ahead of two readers stays when they end, as of who else it is cannot be told")
    func sharedAhead() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<5)
        self.insert(&tier, 5..<10, aheadOf: 1)
        let isHere = (7..<12).map { tier.share(self.key($0), with: 2) }
        #expect(isHere == [true, true, true, false, false])
        tier.giveUpAhead(of: 1)
        tier.giveUpAhead(of: 2)
        #expect(tier.aheadByteCount == 3 * self.unit)
    }

    @Test("What was fetched ahead long ago goes like what was read")
    func expired() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<8, aheadOf: 1)
        tier.expireAhead(downTo: 2 * self.unit, olderThan: 20)
        #expect(tier.aheadByteCount == 8 * self.unit)
        self.insert(&tier, 10..<40)
        tier.expireAhead(downTo: 2 * self.unit, olderThan: 20)
        #expect(tier.aheadByteCount == 2 * self.unit)
    }

    @Test("A block larger than the budget is held alone")
    func large() {
        var tier = MemoryTier(budget: 0 * self.unit)
        self.insert(&tier, 0..<1)
        #expect(tier.contains(self.key(0)))
        self.insert(&tier, 1..<2)
        #expect(tier.count == 1)
    }

    @Test("A block put in twice is counted once")
    func counting() {
        var tier = MemoryTier(budget: 10 * self.unit)
        self.insert(&tier, 0..<1)
        self.insert(&tier, 0..<1)
        #expect(tier.byteCount == self.unit)
    }
}
