import Testing

@testable import BlockCaching

@Suite("What is fetched ahead")
struct ReadAheadWindowTests {
    private let size: UInt64 = 100 << 20
    private let step: UInt64 = 128 << 10

    @Test("One read makes no stream: a small file's read fetches nothing more")
    func single() {
        var window = ReadAheadWindow()
        #expect(window.advance(0..<self.step, size: self.size) == nil)
    }

    @Test("A stream is fetched ahead, each byte once, ever further, and not beyond 8 MiB")
    func stream() {
        var window = ReadAheadWindow()
        var reached: UInt64 = self.step
        var farthest: UInt64 = 0
        for index in 0..<400 {
            let start = UInt64(index) * self.step
            guard let ahead = window.advance(start..<start + self.step, size: self.size) else { continue }
            #expect(ahead.lowerBound >= reached)
            reached = ahead.upperBound
            farthest = max(farthest, ahead.upperBound - (start + self.step))
        }
        #expect(farthest == 8 << 20)
    }

    @Test("Nothing is fetched beyond the file's end")
    func end() {
        var window = ReadAheadWindow()
        let size = 3 * self.step + 5
        _ = window.advance(0..<self.step, size: size)
        let ahead = window.advance(self.step..<2 * self.step, size: size)
        #expect(ahead == 2 * self.step..<size)
        #expect(window.advance(2 * self.step..<3 * self.step, size: size) == nil)
    }

    @Test("Reads here and there fetch nothing ahead")
    func random() {
        var window = ReadAheadWindow()
        for index in [40, 3, 77, 20, 60, 5] as [UInt64] {
            #expect(window.advance(index << 20..<(index << 20) + 4096, size: self.size) == nil)
        }
    }

    @Test("A stream that goes on elsewhere starts over")
    func seek() {
        var window = ReadAheadWindow()
        for index in 0..<10 {
            _ = window.advance(UInt64(index) * self.step..<UInt64(index + 1) * self.step, size: self.size)
        }
        let place: UInt64 = 50 << 20
        #expect(window.advance(place..<place + self.step, size: self.size) == nil)
        let ahead = window.advance(place + self.step..<place + 2 * self.step, size: self.size)
        #expect(ahead == place + 2 * self.step..<place + 2 * self.step + (256 << 10))
    }

    @Test("Two reads of a stream that come in the wrong order do not end it")
    func swapped() {
        var window = ReadAheadWindow()
        for index in [0, 2, 1, 4, 3] as [UInt64] {
            _ = window.advance(index * self.step..<(index + 1) * self.step, size: self.size)
        }
        var fetched: [Range<UInt64>] = []
        for index in [6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15] as [UInt64] {
            if let ahead = window.advance(index * self.step..<(index + 1) * self.step, size: self.size) {
                fetched.append(ahead)
            }
        }
        #expect(!fetched.isEmpty)
        #expect(zip(fetched, fetched.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound })
    }
}
