import Testing

@testable import FilesystemsServer

@Suite("Received bytes")
struct ByteRangesTests {
    @Test("Parts in any order join into one range")
    func joins() {
        var ranges = ByteRanges()
        for part in [8..<10, 0..<4, 4..<8] as [Range<UInt64>] { ranges.insert(part) }
        #expect(ranges.ranges == [0..<10])
        #expect(ranges.firstGap(below: 10) == nil)
        #expect(ranges.firstGap(below: 12) == 10..<12)
    }

    @Test("A part over several others swallows them")
    func swallows() {
        var ranges = ByteRanges()
        for part in [1..<2, 4..<5, 8..<9, 3..<9] as [Range<UInt64>] { ranges.insert(part) }
        #expect(ranges.ranges == [1..<2, 3..<9])
        #expect(ranges.firstGap(below: 9) == 0..<1)
    }

    @Test("What is overwritten is missing until it is there again")
    func removes() {
        var ranges = ByteRanges()
        ranges.insert(0..<10)
        ranges.remove(3..<5)
        #expect(ranges.ranges == [0..<3, 5..<10])
        #expect(ranges.overlaps(2..<4))
        #expect(!ranges.overlaps(3..<5))
        #expect(ranges.firstGap(below: 10) == 3..<5)
        ranges.remove(0..<20)
        #expect(ranges.ranges.isEmpty)
    }

    @Test("Nothing is missing of nothing")
    func empty() {
        var ranges = ByteRanges()
        ranges.insert(5..<5)
        #expect(ranges.ranges.isEmpty)
        #expect(ranges.firstGap(below: 0) == nil)
        #expect(ranges.firstGap(below: 3) == 0..<3)
    }

    @Test("Random parts agree with a set of single bytes")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SplitMix(state: seed)
        var ranges = ByteRanges()
        var bytes: Set<UInt64> = []
        for step in 0..<2000 {
            let start = generator.next() % 60
            let end = start + generator.next() % 12
            if generator.next() % 3 == 0 {
                ranges.remove(start..<end)
                bytes.subtract(start..<end)
            } else {
                ranges.insert(start..<end)
                bytes.formUnion(start..<end)
            }
            let same = Set(ranges.ranges.flatMap { Array($0) }) == bytes
            #expect(same, "seed \(seed), step \(step)")
            let gap = (0..<UInt64(72)).first { !bytes.contains($0) }
            #expect(ranges.firstGap(below: 72)?.lowerBound == gap, "seed \(seed), step \(step)")
        }
    }

    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = self.state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
}
