/// What the way to the service carries of what is sent, and how long it is.
struct UploadPace {
    /// Bytes per second of all parts together; nothing until something was measured.
    private(set) var rate: Double?
    /// Seconds that a call without a body takes at best.
    private var roundTrip: Double?
    /// Since when bytes are counted, and how many parts that ended since then had.
    private var start: ContinuousClock.Instant?
    private var byteCount = 0

    /// No figure is made of less than this, in seconds, and none of more.
    private static let intervals = 0.1...2
    /// What one connection carries within a round trip at least, in bytes: less than Linux's buffers hold.
    private static let windowByteCount = 1 << 20
    private static let startLaneCount = 8
    private static let leastLaneCount = 4

    /// How many parts fill the way: a window each, as many as bytes are on the way at once, and some that begin or end.
    var laneCount: Int {
        guard let rate = self.rate, let roundTrip = self.roundTrip else { return Self.startLaneCount }
        let windows = (rate * roundTrip / Double(Self.windowByteCount)).rounded(.up)
        return Self.leastLaneCount + Int(min(windows, 1000))
    }

    /// A call without a body took so long.
    mutating func add(roundTrip duration: Duration) {
        let sample = Self.seconds(duration)
        // The best of the recent past: a slow answer says nothing about the way.
        self.roundTrip = self.roundTrip.map { min(sample, $0 * 1.1) } ?? sample
    }

    /// A part begins, and none was on its way.
    mutating func begin(at now: ContinuousClock.Instant) {
        self.start = now
        self.byteCount = 0
    }

    /// A part of so many bytes was sent, or nothing of one; none is on its way any more if it was the last.
    mutating func add(_ byteCount: Int, at now: ContinuousClock.Instant, isLast: Bool) {
        guard let start = self.start else { return }
        self.byteCount += byteCount
        let elapsed = Self.seconds(start.duration(to: now))
        guard elapsed >= Self.intervals.lowerBound else { return }
        let sample = Double(self.byteCount) / elapsed
        // Less than before proves nothing as long as others are on their way, of which nothing is counted yet.
        var rate = max(self.rate ?? 0, sample)
        if isLast || elapsed >= Self.intervals.upperBound {
            rate = max(sample, rate * 0.8 + sample * 0.2)
            self.begin(at: now)
        }
        self.rate = rate
    }

    private static func seconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
