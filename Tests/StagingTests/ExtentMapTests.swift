import TestKit
import Testing

@testable import Staging

@Suite("Which bytes are here")
struct ExtentMapTests {
    private func map(_ ranges: Range<UInt64>...) -> ExtentMap {
        var map = ExtentMap()
        for range in ranges { map.insert(range) }
        return map
    }

    @Test("Ranges that touch or overlap become one")
    func merging() {
        #expect(self.map(0..<5, 5..<10).extents == [0..<10])
        #expect(self.map(5..<10, 0..<5).extents == [0..<10])
        #expect(self.map(0..<5, 10..<15, 3..<12).extents == [0..<15])
        #expect(self.map(0..<5, 6..<10).extents == [0..<5, 6..<10])
        #expect(self.map(0..<100, 10..<20).extents == [0..<100])
        #expect(self.map(10..<20, 0..<100).extents == [0..<100])
    }

    @Test("An empty range adds nothing")
    func empty() {
        #expect(self.map(5..<5).extents.isEmpty)
        #expect(self.map(0..<5, 7..<7, 9..<10).extents == [0..<5, 9..<10])
    }

    @Test("Cutting takes everything from an offset on")
    func cutting() {
        var map = self.map(0..<5, 10..<20, 30..<40)
        map.removeAll(from: 15)
        #expect(map.extents == [0..<5, 10..<15])
        map.removeAll(from: 15)
        #expect(map.extents == [0..<5, 10..<15])
        map.removeAll(from: 7)
        #expect(map.extents == [0..<5])
        map.removeAll(from: 0)
        #expect(map.extents.isEmpty)
    }

    @Test("A range is cut into what is here and what is not, in order")
    func pieces() {
        let pieces = self.map(5..<10, 20..<30).pieces(of: 0..<25)
        #expect(pieces.map(\.range) == [0..<5, 5..<10, 10..<20, 20..<25])
        #expect(pieces.map(\.isHere) == [false, true, false, true])
        #expect(self.map(5..<10).pieces(of: 7..<7).isEmpty)
        #expect(ExtentMap().pieces(of: 3..<9).map(\.range) == [3..<9])
    }

    @Test("Random operations agree with a byte for each byte", arguments: 0..<20)
    func model(run: Int) {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        var map = ExtentMap()
        var model = [Bool](repeating: false, count: 200)
        for step in 0..<500 {
            let ends = [Int.random(in: 0...200, using: &random), Int.random(in: 0...200, using: &random)]
                .sorted()
            let range = UInt64(ends[0])..<UInt64(ends[1])
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                map.removeAll(from: range.lowerBound)
                for index in ends[0]..<200 { model[index] = false }
            case 1...2:
                // Short ones, so that there are many.
                let end = min(ends[0] + Int.random(in: 0..<6, using: &random), 200)
                map.insert(range.lowerBound..<UInt64(end))
                for index in ends[0]..<end { model[index] = true }
            case 3 where step % 50 == 0:
                map.insert(range)
                for index in ends[0]..<ends[1] { model[index] = true }
            default:
                var here: [Bool] = []
                for (piece, isHere) in map.pieces(of: range) {
                    here += [Bool](repeating: isHere, count: piece.count)
                }
                guard here == Array(model[ends[0]..<ends[1]]) else {
                    Issue.record("seed \(seed), step \(step): \(range) of \(map.extents)")
                    return
                }
            }
            let isNormal = zip(map.extents, map.extents.dropFirst()).allSatisfy {
                $0.upperBound < $1.lowerBound
            }
            guard isNormal, map.byteCount == UInt64(model.count(where: { $0 })) else {
                Issue.record("seed \(seed), step \(step): \(map.extents)")
                return
            }
        }
    }
}
