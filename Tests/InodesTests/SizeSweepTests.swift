import Testing

@testable import Inodes

@Suite("How far sizes are asked for ahead")
struct SizeSweepTests {
    @Test("In order, everything is asked for once")
    func inOrder() {
        var sweep = SizeSweep()
        var asked: [Int] = []
        for index in 0..<2000 {
            sweep.advance(to: index)
            let range = sweep.range.clamped(to: 0..<2000)
            asked += range
            sweep.reach(range.upperBound)
        }
        #expect(asked == Array(1..<2000))
    }

    @Test("Out of order, nothing is asked for ahead")
    func outOfOrder() {
        var sweep = SizeSweep()
        sweep.advance(to: 1000)
        for index in [100, 1900, 30, 1000, 1] {
            sweep.advance(to: index)
            #expect(sweep.range.isEmpty)
        }
    }

    @Test("Never more than 512 are asked for beyond the one that the program is at")
    func bound() {
        var sweep = SizeSweep()
        for index in 0..<5000 {
            sweep.advance(to: index)
            #expect(sweep.range.upperBound <= index + 1 + 512)
        }
    }

    @Test("Threads that share a directory, a little out of order, are asked ahead of all the same")
    func threads() {
        var sweep = SizeSweep()
        for start in stride(from: 0, to: 800, by: 8) {
            for index in [3, 1, 7, 2, 0, 5, 4, 6] { sweep.advance(to: start + index) }
        }
        #expect(sweep.range.upperBound == 800 + 512)
    }
}
