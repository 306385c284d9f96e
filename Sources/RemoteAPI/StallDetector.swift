/// Which requests are slower than their peers by far.
///
/// What is far comes from measurement: the time to the first byte is compared with that of recent requests of the
/// kind, the rate of a body with that of the others which were on the way meanwhile, or of recent ones where there
/// were none. With neither, no request is slow. A value: it is told what happens and asked what to do.
struct StallDetector {
    /// What is seen of a request at a moment.
    struct Progress {
        /// When its first byte came, if one came.
        var firstByte: Duration?
        /// Bytes received.
        var received: UInt64
    }

    private struct Request {
        let kind: String
        let began: Duration
        /// The bytes that it is to bring, where that is known.
        let expected: UInt64?
        /// Until when, and how many of its bytes, it is part of the totals.
        var accounted: Duration?
        var received: UInt64 = 0
        var window: Window?
    }

    /// Where things stood when a look at a body began.
    private struct Window {
        let start: Duration
        let received: UInt64
        let totals: Totals
    }

    /// Bytes of bodies, and the time that they took, of all requests together.
    private struct Totals {
        var bytes = 0.0
        var seconds = 0.0

        /// Bytes a second, where any came.
        var rate: Double? { self.bytes > 0 ? self.bytes / max(self.seconds, 1e-6) : nil }
    }

    private var requests: [UInt64: Request] = [:]
    private var totals = Totals()
    /// Of requests that ended well, the older the less.
    private var recent = Totals()
    private var recentCount = 0
    private var firstBytes: [String: RecentTimes] = [:]
    private var budget = 1.0

    /// Nobody gains from a second request for what is late by less: setting up a connection takes as long.
    static let patience = Duration.seconds(1)
    /// A request that is slower than others by this is slower by far: streams that share a bottleneck fairly enough
    /// differ by less.
    private static let farRate = 8.0
    private static let farTime = 4
    /// Each request adds so much to what may be asked for twice, up to a few at a time.
    private static let budgetPerRequest = 0.05
    private static let budgetLimit = 4.0
    /// How many requests there must have been before they say what is usual.
    static let leastHistory = 8

    /// Whether nothing is on the way.
    var isIdle: Bool { self.requests.isEmpty }

    /// Whether any request could be found slow: there is something to compare with.
    var canCompare: Bool {
        self.requests.count > 1 || self.recentCount >= Self.leastHistory
            || self.firstBytes.values.contains { $0.count >= Self.leastHistory }
    }

    /// A request was sent.
    mutating func began(_ id: UInt64, kind: String, expected: UInt64?, at now: Duration) {
        self.requests[id] = Request(kind: kind, began: now, expected: expected)
        self.earn()
    }

    /// A request was sent, by which others may be sent a second time.
    mutating func earn() { self.budget = min(Self.budgetLimit, self.budget + Self.budgetPerRequest) }

    /// A request ended; `isUsual` where it ended by itself and well, so that others can be compared with it.
    mutating func ended(_ id: UInt64, _ progress: Progress, isUsual: Bool, at now: Duration) {
        self.account(id, progress, at: now)
        guard let request = self.requests.removeValue(forKey: id), isUsual else { return }
        let firstByte = progress.firstByte ?? now
        self.firstBytes[request.kind, default: RecentTimes()].add(firstByte - request.began)
        // Small bodies come in one piece: no rate can be seen in them.
        guard progress.received >= 64 << 10 else { return }
        self.recent.bytes = self.recent.bytes * 0.9 + Double(progress.received)
        self.recent.seconds = self.recent.seconds * 0.9 + (now - firstByte).inSeconds
        self.recentCount += 1
    }

    /// Takes note of how far all are.
    ///
    /// - Returns: Those that are slow by far, the one that has been on the way longest first.
    mutating func look(_ progress: [UInt64: Progress], at now: Duration) -> [UInt64] {
        for (id, progress) in progress { self.account(id, progress, at: now) }
        var slow: [(id: UInt64, began: Duration)] = []
        for (id, request) in self.requests {
            let hasBegun = request.accounted != nil
            guard hasBegun ? self.isSlow(id, request, now) : self.isLate(request, now) else { continue }
            slow.append((id, request.began))
        }
        return slow.sorted { ($0.began, $0.id) < ($1.began, $1.id) }.map(\.id)
    }

    /// Whether one more request may be sent a second time; if so, that counts.
    mutating func spend() -> Bool {
        guard self.budget >= 1 else { return false }
        self.budget -= 1
        return true
    }

    /// It could not be sent after all.
    mutating func refund() { self.budget += 1 }

    private mutating func account(_ id: UInt64, _ progress: Progress, at now: Duration) {
        guard let request = self.requests[id], let firstByte = progress.firstByte else { return }
        self.totals.bytes += Double(progress.received - min(progress.received, request.received))
        self.totals.seconds += max(0, (now - (request.accounted ?? firstByte)).inSeconds)
        self.requests[id]?.accounted = now
        self.requests[id]?.received = progress.received
    }

    private func isLate(_ request: Request, _ now: Duration) -> Bool {
        guard let times = self.firstBytes[request.kind], times.count >= Self.leastHistory else {
            return false
        }
        return now - request.began > max(Self.patience, times.high * Self.farTime)
    }

    private mutating func isSlow(_ id: UInt64, _ request: Request, _ now: Duration) -> Bool {
        guard let window = request.window, now - window.start >= Self.patience else {
            if request.window == nil { self.openWindow(id, request, now) }
            return false
        }
        self.openWindow(id, request, now)
        let seconds = (now - window.start).inSeconds
        let bytes = Double(request.received - window.received)
        let others = Totals(
            bytes: self.totals.bytes - window.totals.bytes - bytes,
            seconds: self.totals.seconds - window.totals.seconds - seconds
        )
        let hadPeers = others.seconds >= seconds / 2
        let before = self.recentCount >= Self.leastHistory ? self.recent.rate : nil
        guard let usual = hadPeers ? others.rate : before, bytes / seconds * Self.farRate < usual
        else { return false }
        // What is nearly done is not worth a second request.
        guard let expected = request.expected else { return true }
        let rest = Double(expected - min(expected, request.received))
        return rest > bytes / seconds * Self.patience.inSeconds
    }

    private mutating func openWindow(_ id: UInt64, _ request: Request, _ now: Duration) {
        self.requests[id]?.window = Window(start: now, received: request.received, totals: self.totals)
    }
}

/// The last times that something took.
private struct RecentTimes {
    private var times: [Duration] = []
    private var next = 0

    private static let limit = 64

    var count: Int { self.times.count }

    /// Nine of ten took no longer.
    var high: Duration {
        let sorted = self.times.sorted()
        return sorted.isEmpty ? .zero : sorted[min(sorted.count - 1, sorted.count * 9 / 10)]
    }

    mutating func add(_ time: Duration) {
        if self.times.count < Self.limit {
            self.times.append(time)
        } else {
            self.times[self.next] = time
            self.next = (self.next + 1) % Self.limit
        }
    }
}

extension Duration {
    fileprivate var inSeconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) * 1e-18
    }
}
