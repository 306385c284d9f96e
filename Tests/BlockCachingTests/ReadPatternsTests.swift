import Testing

@testable import BlockCaching

private let kib: UInt64 = 1 << 10
private let mib: UInt64 = 1 << 20

@Suite("What is fetched ahead of one handle")
struct ReadPatternsTests {
    private let size = 1000 * mib
    private let step = 128 * kib

    /// Reads one range; what is fetched ahead of it.
    private func read(
        _ patterns: inout ReadPatterns,
        _ start: UInt64,
        _ count: UInt64,
        hadToWait: Bool = true,
        window: UInt64 = 64 << 20,
        room: UInt64 = 1 << 40,
        size: UInt64? = nil
    ) -> [Range<UInt64>] {
        patterns.advance(start..<start + count, hadToWait: hadToWait, size: size ?? self.size) {
            ReadAheadAllowance(window: window, first: min(window, 8 * mib), room: room)
        }
    }

    @Test("A small read at a file's start fetches nothing more")
    func single() {
        var patterns = ReadPatterns()
        #expect(self.read(&patterns, 0, 16 * kib).isEmpty)
    }

    @Test("The kernel's first large read of a file that is read from its start makes a stream")
    func largeAtStart() {
        var patterns = ReadPatterns()
        #expect(self.read(&patterns, 0, 256 * kib).first?.lowerBound == 256 * kib)
    }

    @Test(
        "The third read in order makes a stream, however small, and the second large one",
        arguments: [4, 128]
    )
    func evidence(count: UInt64) {
        var patterns = ReadPatterns()
        let start = 50 * mib
        var fetched: [Bool] = []
        for index in 0..<3 as Range<UInt64> {
            fetched.append(
                !self.read(&patterns, start + index * count * kib, count * kib).isEmpty
            )
        }
        #expect(fetched == (count == 4 ? [false, false, true] : [false, true, true]))
    }

    @Test("A stream is fetched ahead, each byte once and without gaps, up to the window")
    func stream() {
        var patterns = ReadPatterns()
        var reached: UInt64?
        var farthest: UInt64 = 0
        for index in 0..<4000 as Range<UInt64> {
            let end = (index + 1) * self.step
            for ahead in self.read(&patterns, end - self.step, self.step, window: 32 * mib) {
                #expect(ahead.lowerBound == reached ?? ahead.lowerBound)
                reached = ahead.upperBound
                farthest = max(farthest, ahead.upperBound - end)
            }
        }
        #expect(farthest > 28 * mib && farthest <= 32 * mib)
    }

    @Test("Requests grow with the window, and end at multiples of their size")
    func requestSizes() {
        var patterns = ReadPatterns()
        var sizes: [UInt64] = []
        for index in 0..<2000 as Range<UInt64> {
            for ahead in self.read(&patterns, index * self.step, self.step, window: 128 * mib) {
                sizes.append(UInt64(ahead.count))
                if ahead.count == 16 << 20 { #expect(ahead.upperBound % (16 * mib) == 0) }
            }
        }
        #expect(sizes.max() == 16 * mib)
        #expect(sizes.min().map { $0 <= mib } == true)
    }

    @Test("With the memory of a mount with defaults requests grow to 16 MiB, with four of them ahead")
    func largestRequests() {
        var patterns = ReadPatterns()
        let window = BlockCache.aheadBudget(96 << 20)
        var largest = 0
        var (reached, least) = (UInt64.max, UInt64.max)
        for index in 0..<4000 as Range<UInt64> {
            let end = (index + 1) * self.step
            for ahead in self.read(&patterns, end - self.step, self.step, window: window) {
                largest = max(largest, ahead.count)
                reached = ahead.upperBound
            }
            #expect(reached - end <= window || index == 0)
            if index > 100 { least = min(least, reached - end) }
        }
        #expect(largest == 16 << 20)
        #expect(least >= 64 * mib)
    }

    @Test("A reader who never waits gets no larger window")
    func satisfied() {
        var patterns = ReadPatterns()
        var farthest: UInt64 = 0
        for index in 0..<400 as Range<UInt64> {
            let end = (index + 1) * self.step
            for ahead in self.read(&patterns, end - self.step, self.step, hadToWait: false) {
                farthest = max(farthest, ahead.upperBound - end)
            }
        }
        #expect(farthest <= 8 * mib)
    }

    @Test("Nothing is fetched beyond the file's end, and its end is")
    func end() {
        var patterns = ReadPatterns()
        let size = 3 * self.step + 5
        var ahead = self.read(&patterns, 0, self.step, size: size)
        ahead += self.read(&patterns, self.step, self.step, size: size)
        ahead += self.read(&patterns, 2 * self.step, self.step, size: size)
        #expect(ahead.last?.upperBound == size)
        #expect(zip(ahead, ahead.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
    }

    @Test("Reads here and there fetch nothing ahead")
    func random() {
        var patterns = ReadPatterns()
        for index in [40, 3, 77, 20, 60, 5, 41, 4] as [UInt64] {
            #expect(self.read(&patterns, index * mib, 4096).isEmpty)
        }
    }

    @Test("A stream that goes on elsewhere starts over there, with a small window")
    func seek() {
        var patterns = ReadPatterns()
        for index in 0..<100 as Range<UInt64> { _ = self.read(&patterns, index * self.step, self.step) }
        #expect(self.read(&patterns, 500 * mib, self.step).isEmpty)
        let ahead = self.read(&patterns, 500 * mib + self.step, self.step)
        #expect(ahead.first?.lowerBound == 500 * mib + 2 * self.step)
        #expect(ahead.last.map { $0.upperBound <= 510 * mib } == true)
    }

    @Test(
        "Two reads in order where a stream was left for reads here and there fetch no more than a new one does",
        arguments: [(64, 0), (128, 8)] as [(UInt64, UInt64)]
    )
    func leftStream(count: UInt64, limit: UInt64) {
        var patterns = ReadPatterns()
        let (start, count) = (500 * mib, count * kib)
        for index in 0..<3 as Range<UInt64> { _ = self.read(&patterns, start + index * count, count) }
        for index in 1...16 as ClosedRange<UInt64> {
            #expect(self.read(&patterns, index * index * mib, 4096).isEmpty)
        }
        var ahead = 0 as UInt64
        for index in 3..<5 as Range<UInt64> {
            ahead += self.read(&patterns, start + index * count, count).reduce(0) { $0 + UInt64($1.count) }
        }
        #expect(ahead <= limit * mib)
    }

    @Test("The more a reader reads here and there, the less of a stream's window it gets when it comes back")
    func shrinks() {
        let fetched = (0...12).map { strayCount in
            var patterns = ReadPatterns()
            // What is ahead of it does not grow until there is room.
            for index in 0..<8 as Range<UInt64> {
                _ = self.read(&patterns, 500 * mib + index * self.step, self.step, room: 0)
            }
            for index in 0..<UInt64(strayCount) {
                _ = self.read(&patterns, index * index * mib, 4096)
            }
            return self.read(&patterns, 500 * mib + 8 * self.step, self.step, hadToWait: false)
                .reduce(0) { $0 + $1.count } / Int(mib)
        }
        #expect(fetched[0] > 48 && fetched[1...4].allSatisfy { $0 == fetched[0] })
        #expect(zip(fetched[4...], fetched[5...9]).allSatisfy { $0 > $1 })
        #expect(fetched[12] == 0)
    }

    @Test("Streams that are read in turn keep their windows, also with some reads elsewhere between")
    func interleaved() {
        var patterns = ReadPatterns()
        var farthest: [UInt64] = [0, 0]
        var stray: UInt64 = 0
        for index in 0..<400 as Range<UInt64> {
            for stream in 0..<2 {
                let end = UInt64(stream) * 400 * mib + (index + 1) * self.step
                for ahead in self.read(&patterns, end - self.step, self.step, window: 32 * mib) {
                    farthest[stream] = ahead.upperBound
                }
                if index > 50 { #expect(farthest[stream] >= end + 20 * mib) }
                for _ in 0..<2 {
                    stray += 1
                    _ = self.read(&patterns, 850 * mib + stray * stray * 7919 * kib % (90 * mib), 4096)
                }
            }
        }
    }

    @Test("A second pass over a file is a stream again")
    func secondPass() {
        var patterns = ReadPatterns()
        for index in 0..<400 as Range<UInt64> { _ = self.read(&patterns, index * self.step, self.step) }
        var ahead: [Range<UInt64>] = []
        for index in 0..<3 as Range<UInt64> { ahead += self.read(&patterns, index * self.step, self.step) }
        #expect(ahead.first?.lowerBound == self.step)
        #expect(zip(ahead, ahead.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
    }

    @Test("Reads of a stream that come in the wrong order do not end it")
    func swapped() {
        var patterns = ReadPatterns()
        var ahead: [Range<UInt64>] = []
        for index in [1, 0, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11] as [UInt64] {
            ahead += self.read(&patterns, 100 * mib + index * self.step, self.step)
        }
        #expect(!ahead.isEmpty)
        #expect(zip(ahead, ahead.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
    }

    @Test("Twenty columns read in turn are twenty streams")
    func columns() {
        var patterns = ReadPatterns()
        var streams: Set<UInt64> = []
        for index in 0..<6 as Range<UInt64> {
            for column in 0..<20 as Range<UInt64> {
                // Columns of different lengths: their starts are no pattern themselves.
                let start = column * 40 * mib + column * column * mib / 16 + index * 64 * kib
                for ahead in self.read(&patterns, start, 64 * kib, window: 4 * mib) {
                    streams.insert(ahead.lowerBound / (40 * mib))
                }
            }
        }
        #expect(streams.count == 20)
    }

    @Test("A file that is read backwards is fetched ahead of the reader, towards its start, each byte once")
    func backwards() {
        var patterns = ReadPatterns()
        var lowest = UInt64.max
        for index in 0..<60 as Range<UInt64> {
            let start = 100 * mib - (index + 1) * self.step
            for ahead in self.read(&patterns, start, self.step) {
                #expect(ahead.upperBound <= start)
                #expect(lowest == .max || ahead.upperBound == lowest)
                lowest = ahead.lowerBound
            }
        }
        #expect(lowest < 90 * mib)
        for index in 60..<900 as Range<UInt64> {
            guard (index + 1) * self.step <= 100 * mib else { break }
            for ahead in self.read(&patterns, 100 * mib - (index + 1) * self.step, self.step) {
                lowest = ahead.lowerBound
            }
        }
        #expect(lowest == 0)
    }

    @Test("Equal steps are a pattern from the third read on, each of them fetched once", arguments: [1, -1])
    func strides(direction: Int64) {
        var patterns = ReadPatterns()
        var starts: [UInt64] = []
        for index in 0..<40 as Range<Int64> {
            let start = UInt64(500 * Int64(mib) + direction * index * 3_000_000)
            let ahead = self.read(&patterns, start, 8 * kib)
            if index < 2 { #expect(ahead.isEmpty) } else if index == 2 { #expect(!ahead.isEmpty) }
            starts += ahead.map(\.lowerBound)
        }
        #expect(Set(starts).count == starts.count)
        let expected = (3..<40 as Range<Int64>).map { UInt64(500 * Int64(mib) + direction * $0 * 3_000_000) }
        #expect(Set(starts).isSuperset(of: expected))
    }

    @Test("Where there is no room nothing is fetched ahead, and when there is again it goes on")
    func noRoom() {
        var patterns = ReadPatterns()
        for index in 0..<8 as Range<UInt64> {
            #expect(self.read(&patterns, index * self.step, self.step, room: 0).isEmpty)
        }
        let ahead = self.read(&patterns, 8 * self.step, self.step)
        #expect(ahead.first?.lowerBound == 9 * self.step)
    }
}

@Suite("How much is fetched ahead of a stream")
struct ReadAheadGovernorTests {
    @Test("A stream begins with what earlier transfers showed the way to hold, at first with 16 MiB")
    func first() {
        var governor = ReadAheadGovernor(budget: 84 * mib)
        governor.noteRead(1)
        #expect(governor.windows().first == 16 * mib)
        governor.meter.addFirstByte(after: .milliseconds(100))
        let start = ContinuousClock.now
        governor.meter.add(1, at: start)
        // 15 MiB in each round trip.
        governor.meter.add(15 << 20, at: start + .milliseconds(100))
        #expect((29 * mib...30 * mib).contains(governor.windows().first))
        governor.noteRead(2)
        governor.noteRead(3)
        #expect(governor.windows().first == 28 * mib)
    }

    @Test("Where the way is known to hold little a stream begins with 8 MiB")
    func slow() {
        var governor = ReadAheadGovernor(budget: 84 * mib)
        governor.noteRead(1)
        governor.meter.addFirstByte(after: .milliseconds(20))
        #expect(governor.windows().first == 8 * mib)
    }
}
