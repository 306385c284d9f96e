/// Which segments there are, and which of them goes next: a two-class LRU.
///
/// A segment whose blocks were read back is protected: those that were not go before it, however recent they are, so
/// that one large scan takes only the place of what nobody read twice. At most three quarters are protected;
/// beyond, the one that was not used for the longest time loses its protection.
struct SegmentTable {
    /// What is known of a segment.
    struct Segment: Equatable {
        /// Counts up with every use of any segment.
        var lastUse: Int64
        /// Whether blocks of it were read back.
        var isProtected: Bool
    }

    private(set) var segments: [UInt32: Segment] = [:]
    /// The one that is written to; never evicted.
    private(set) var newest: UInt32?
    private var protectedCount = 0
    private var clock: Int64 = 0
    private var changed: Set<UInt32> = []
    private var next: UInt32 = 1

    /// Takes what the catalogue has.
    init(_ segments: [UInt32: Segment] = [:]) {
        self.segments = segments
        self.newest = segments.keys.max()
        self.protectedCount = segments.values.count { $0.isProtected }
        self.clock = segments.values.map(\.lastUse).max() ?? 0
        self.next = (self.newest ?? 0) + 1
    }

    /// How many there are.
    var count: Int { self.segments.count }

    /// How many were used since ``takeChanges()``.
    var changeCount: Int { self.changed.count }

    /// Whether there is such a segment.
    func contains(_ number: UInt32) -> Bool { self.segments[number] != nil }

    /// Adds the segment that is written to from now on. Numbers are never given twice.
    mutating func add() -> UInt32 {
        let number = self.next
        self.next += 1
        self.clock &+= 1
        self.segments[number] = Segment(lastUse: self.clock, isProtected: false)
        self.newest = number
        self.changed.insert(number)
        return number
    }

    /// Notes that blocks of a segment were read back.
    mutating func touch(_ number: UInt32, capacity: Int) {
        guard var segment = self.segments[number] else { return }
        self.clock &+= 1
        segment.lastUse = self.clock
        if !segment.isProtected {
            segment.isProtected = true
            self.protectedCount += 1
        }
        self.segments[number] = segment
        self.changed.insert(number)
        guard self.protectedCount > max(1, capacity * 3 / 4) else { return }
        if let oldest = self.leastRecent(where: { $0.isProtected }) {
            self.segments[oldest]?.isProtected = false
            self.protectedCount -= 1
            self.changed.insert(oldest)
        }
    }

    /// The segment to evict next.
    var victim: UInt32? { self.leastRecent { !$0.isProtected } ?? self.leastRecent { $0.isProtected } }

    /// Takes a segment out.
    mutating func remove(_ number: UInt32) {
        guard let segment = self.segments.removeValue(forKey: number) else { return }
        if segment.isProtected { self.protectedCount -= 1 }
        self.changed.remove(number)
        if self.newest == number { self.newest = nil }
    }

    /// What the catalogue does not know yet.
    mutating func takeChanges() -> [UInt32: Segment] {
        defer { self.changed.removeAll() }
        return self.segments.filter { self.changed.contains($0.key) }
    }

    /// Has changes that could not be written down taken again.
    mutating func restoreChanges(_ numbers: some Sequence<UInt32>) {
        for number in numbers where self.contains(number) { self.changed.insert(number) }
    }

    // A look at all: once for each segment written (8 MiB), over some thousand of them, a few microseconds.
    private func leastRecent(where condition: (Segment) -> Bool) -> UInt32? {
        var oldest: (number: UInt32, lastUse: Int64)?
        for (number, segment) in self.segments where number != self.newest && condition(segment) {
            if oldest.map({ segment.lastUse < $0.lastUse }) ?? true { oldest = (number, segment.lastUse) }
        }
        return oldest?.number
    }
}
