import Testing

@testable import BlockCaching

@Suite("What the way to the service holds, and how much of that a stream may have ahead")
struct TransferMeterTests {
    private static let mebibyte: UInt64 = 1 << 20
    private static let start = ContinuousClock.now

    /// A way to the service on which so many bytes come in each millisecond.
    private func measure(
        _ meter: inout TransferMeter,
        bytesPerMillisecond: Int,
        milliseconds: Range<Int>,
        latency: Duration
    ) {
        for millisecond in milliseconds {
            if millisecond % 20 == 0 { meter.addFirstByte(after: latency) }
            meter.add(bytesPerMillisecond, at: Self.start + .milliseconds(millisecond))
        }
    }

    @Test("What the way holds is how much comes in while a first byte is on its way")
    func product() throws {
        var meter = TransferMeter()
        #expect(meter.bandwidthDelayProduct == nil)
        #expect(meter.bytesPerSecond == 0)
        self.measure(&meter, bytesPerMillisecond: 50_000, milliseconds: 0..<3000, latency: .milliseconds(100))
        #expect(abs(meter.bytesPerSecond - 50_000_000) < 1_000_000)
        #expect(abs(Double(try #require(meter.bandwidthDelayProduct)) - 5_000_000) < 100_000)
    }

    @Test("The best of the recent past counts, and no longer than that")
    func recent() {
        var meter = TransferMeter()
        self.measure(&meter, bytesPerMillisecond: 50_000, milliseconds: 0..<1000, latency: .milliseconds(20))
        self.measure(&meter, bytesPerMillisecond: 1000, milliseconds: 1000..<1400, latency: .milliseconds(20))
        #expect(meter.bytesPerSecond > 40_000_000)
        self.measure(&meter, bytesPerMillisecond: 1000, milliseconds: 1400..<4000, latency: .milliseconds(20))
        #expect(abs(meter.bytesPerSecond - 1_000_000) < 200_000)
    }

    @Test("A pause of the reader is not taken for a slow service")
    func pauses() {
        var meter = TransferMeter()
        meter.addFirstByte(after: .milliseconds(20))
        // A megabyte in 20 ms, and a second without.
        for second in 0..<200 {
            for millisecond in 0...20 {
                meter.add(50_000, at: Self.start + .seconds(second) + .milliseconds(millisecond))
            }
        }
        #expect(meter.bytesPerSecond > 40_000_000)
    }

    @Test("A stream may have four times what the way holds ahead, and twice that when it begins")
    func windows() {
        var governor = ReadAheadGovernor(budget: 1024 * Self.mebibyte)
        governor.noteRead(1)
        // Nothing is measured.
        let before = governor.windows()
        #expect(before.limit == 16 * Self.mebibyte && before.first == 16 * Self.mebibyte)
        self.measure(
            &governor.meter,
            bytesPerMillisecond: 100_000,
            milliseconds: 0..<3000,
            latency: .milliseconds(100)
        )
        let (limit, first) = governor.windows()
        #expect((39_000_000...41_000_000).contains(limit))
        #expect((19_500_000...20_500_000).contains(first))
    }

    @Test("Where the way holds little, a stream may still have 16 MiB ahead, and 8 when it begins")
    func leastWindows() {
        var governor = ReadAheadGovernor(budget: 1024 * Self.mebibyte)
        governor.noteRead(1)
        self.measure(
            &governor.meter,
            bytesPerMillisecond: 10_000,
            milliseconds: 0..<3000,
            latency: .milliseconds(1)
        )
        let (limit, first) = governor.windows()
        #expect(limit == 16 * Self.mebibyte && first == 8 * Self.mebibyte)
    }

    @Test("Streams share the budget evenly, but for those that ended or were not read for a while")
    func shares() {
        var governor = ReadAheadGovernor(budget: 16 * Self.mebibyte)
        var limits: [UInt64] = []
        for stream in 1...4 { governor.noteRead(UInt64(stream)) }
        limits.append(governor.windows().limit)
        governor.forget(4)
        governor.forget(3)
        limits.append(governor.windows().limit)
        for _ in 0..<256 { governor.noteRead(1) }
        limits.append(governor.windows().limit)
        // However many there are, each has what the kernel asks for at once.
        for stream in 1...64 { governor.noteRead(UInt64(stream)) }
        limits.append(governor.windows().limit)
        #expect(limits == [4, 8, 16, 1].map { $0 * Self.mebibyte })
    }
}
