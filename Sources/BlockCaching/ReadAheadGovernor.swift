/// What one stream may have ahead of its reader, in bytes.
struct ReadAheadAllowance {
    /// In all.
    var window: UInt64
    /// Of a stream that begins, the most.
    var first: UInt64
    /// Beyond what is ahead already, of this stream and all others.
    var room: UInt64
}

/// Divides what may be fetched ahead among the streams of the whole mount.
struct ReadAheadGovernor {
    var meter = TransferMeter()
    /// What all streams together may have ahead of their readers, in bytes.
    var budget: UInt64
    /// Reads of all streams so far: the clock by which a stream counts as idle.
    private var readCount: UInt64 = 0
    /// The count when each stream was last read.
    private var lastReads: [UInt64: UInt64] = [:]

    /// A stream that was not read for so many reads of others is idle.
    private static let idleReadCount: UInt64 = 256
    /// The least that a stream may have ahead: what the kernel asks for at once.
    private static let leastWindow: UInt64 = 1 << 20
    /// The least that a stream may grow to where latency alone would ask for less: the wake-ups between two threads.
    private static let leastLimit: UInt64 = 16 << 20
    /// What a stream begins with at least where the way to the service is known to hold less: several connections' worth,
    /// as each costs a round trip to open.
    private static let leastFirst: UInt64 = 8 << 20

    init(budget: UInt64) {
        self.budget = budget
    }

    /// A stream is read.
    mutating func noteRead(_ stream: UInt64) {
        self.readCount += 1
        self.lastReads[stream] = self.readCount
        if self.lastReads.count > 64, self.readCount % 64 == 0 { self.forgetIdle() }
    }

    /// A stream has ended.
    mutating func forget(_ stream: UInt64) { self.lastReads[stream] = nil }

    /// How much one stream may have ahead of its reader, in bytes: its share of the budget, and no more than some times
    /// what the way to the service was seen to hold: enough to find out that it holds more.
    private mutating func windowLimit() -> UInt64 {
        self.forgetIdle()
        let share = self.budget / UInt64(max(1, self.lastReads.count))
        let useful = self.meter.bandwidthDelayProduct.map { max(Self.leastLimit, 4 * $0) } ?? Self.leastLimit
        return max(Self.leastWindow, min(share, useful))
    }

    /// How much one stream may have ahead of its reader, at once and when it begins.
    mutating func windows() -> (limit: UInt64, first: UInt64) {
        let limit = self.windowLimit()
        let useful = self.meter.bandwidthDelayProduct.map { max(Self.leastFirst, 2 * $0) } ?? Self.leastLimit
        return (limit, min(limit, useful))
    }

    private mutating func forgetIdle() {
        let count = self.readCount
        self.lastReads = self.lastReads.filter { count - $0.value < Self.idleReadCount }
    }
}
