/// What the way to the service carries: how fast bytes come when many are asked for, and how long the first one takes.
///
/// Both as the best of the recent past, since a slow moment says nothing about what would be possible.
struct TransferMeter {
    /// The best of the last two periods of so many samples.
    private struct Best {
        private var current: Double?
        private var previous: Double?
        private var sampleCount = 0
        private let isBetter: (Double, Double) -> Bool

        private static let period = 32

        init(_ isBetter: @escaping @Sendable (Double, Double) -> Bool) {
            self.isBetter = isBetter
        }

        var value: Double? {
            guard let current, let previous else { return self.current ?? self.previous }
            return self.isBetter(current, previous) ? current : previous
        }

        mutating func add(_ sample: Double) {
            if self.sampleCount == Self.period {
                self.previous = self.current
                self.current = nil
                self.sampleCount = 0
            }
            self.sampleCount += 1
            self.current = self.current.map { self.isBetter($0, sample) ? $0 : sample } ?? sample
        }
    }

    /// Bytes per second.
    private var rate = Best { $0 > $1 }
    /// Seconds from the request to the first byte.
    private var latency = Best { $0 < $1 }
    private var intervalStart: ContinuousClock.Instant?
    private var intervalByteCount = 0

    /// No shorter than this: what a scheduler does to one thread is not what the network does.
    private static let shortestInterval = 0.02

    /// Bytes per second; 0 until something was measured.
    var bytesPerSecond: Double {
        // What has come in an interval that is not over is a rate that was reached, at least.
        max(self.rate.value ?? 0, Double(self.intervalByteCount) / self.interval)
    }

    /// What is on the way when nothing waits, in bytes; nothing until something was measured.
    var bandwidthDelayProduct: UInt64? {
        guard let latency = self.latency.value else { return nil }
        return UInt64(self.bytesPerSecond * latency)
    }

    /// How long bytes are counted for one figure, in seconds.
    private var interval: Double { max(Self.shortestInterval, self.latency.value ?? 0) }

    /// The first byte of a request came in.
    mutating func addFirstByte(after duration: Duration) {
        self.latency.add(duration.seconds)
    }

    /// So many bytes came in.
    mutating func add(_ byteCount: Int, at now: ContinuousClock.Instant) {
        self.intervalByteCount += byteCount
        guard let start = self.intervalStart else {
            self.intervalStart = now
            self.intervalByteCount = 0
            return
        }
        let elapsed = (now - start).seconds
        guard elapsed >= self.interval else { return }
        // A pause of the reader says nothing about the way.
        if elapsed < 4 * self.interval { self.rate.add(Double(self.intervalByteCount) / elapsed) }
        self.intervalStart = now
        self.intervalByteCount = 0
    }
}

extension Duration {
    /// Seconds with their fraction.
    var seconds: Double {
        let (seconds, attoseconds) = self.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
