/// Which parts of uploads stand still for longer than their peers by far.
///
/// A part stands still while nothing of it is sent and no answer comes, so that the time counts, too, which the service
/// takes to answer. What is far is seen by the parts that have arrived lately, as far as they are not much smaller: the
/// service may take the longer the more it got. Without any, none stands still. A value: it is told what happens and
/// asked what to do.
struct StandstillDetector {
    /// What is seen of a part at a moment.
    struct Progress {
        /// Bytes given to the network.
        var sent: UInt64
        /// Whether it waits for its own bytes.
        var isPaused: Bool
    }

    private struct Part {
        let byteCount: UInt64
        var sent: UInt64 = 0
        var lastMoved: Duration
        /// For how long it stood still at most.
        var longest = Duration.zero
    }

    private var parts: [UInt64: Part] = [:]
    /// Of the last parts that arrived, in a ring.
    private var recent: [(byteCount: UInt64, longest: Duration)] = []
    private var next = 0

    /// What was sent of a part is lost if it is sent again: twice a request's patience.
    static let patience = StallDetector.patience * 2
    private static let farTime = 8
    /// How many parts must have arrived before they say what is usual.
    static let leastHistory = 3
    private static let historyLimit = 64

    /// Whether nothing is on the way.
    var isIdle: Bool { self.parts.isEmpty }

    /// Whether any part could be found to stand still, now or once others have arrived.
    var canCompare: Bool { self.parts.count > 1 || self.recent.count >= Self.leastHistory }

    /// A part of so many bytes is being sent.
    mutating func began(_ id: UInt64, byteCount: UInt64, at now: Duration) {
        self.parts[id] = Part(byteCount: byteCount, lastMoved: now)
    }

    /// A part ended; `isUsual` where it has arrived, so that others can be compared with it.
    mutating func ended(_ id: UInt64, _ progress: Progress, isUsual: Bool, at now: Duration) {
        self.note(id, progress, at: now)
        guard let part = self.parts.removeValue(forKey: id), isUsual else { return }
        if self.recent.count < Self.historyLimit {
            self.recent.append((part.byteCount, part.longest))
        } else {
            self.recent[self.next] = (part.byteCount, part.longest)
            self.next = (self.next + 1) % Self.historyLimit
        }
    }

    /// Takes note of how far all are.
    ///
    /// - Returns: Those that stand still, the one that has done so for longest first.
    mutating func look(_ progress: [UInt64: Progress], at now: Duration) -> [UInt64] {
        for (id, progress) in progress { self.note(id, progress, at: now) }
        let standing = self.parts.filter { _, part in
            guard let usual = self.usual(for: part.byteCount) else { return false }
            return now - part.lastMoved > max(Self.patience, usual * Self.farTime)
        }
        return standing.sorted { ($0.value.lastMoved, $0.key) < ($1.value.lastMoved, $1.key) }.map(\.key)
    }

    private mutating func note(_ id: UInt64, _ progress: Progress, at now: Duration) {
        guard var part = self.parts[id] else { return }
        if progress.sent != part.sent || progress.isPaused {
            part.sent = progress.sent
            part.lastMoved = now
        }
        part.longest = max(part.longest, now - part.lastMoved)
        self.parts[id] = part
    }

    /// For how long nine of ten of its peers stood still at most.
    private func usual(for byteCount: UInt64) -> Duration? {
        let times = self.recent.filter { $0.byteCount >= byteCount / 2 }.map(\.longest).sorted()
        return times.count < Self.leastHistory ? nil : times[min(times.count - 1, times.count * 9 / 10)]
    }
}
