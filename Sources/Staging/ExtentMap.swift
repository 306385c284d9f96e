/// Which bytes of a file are here: disjoint ranges in order, neighbours merged.
public struct ExtentMap: Hashable, Sendable {
    /// The ranges, offsets in bytes, ends exclusive.
    public private(set) var extents: [Range<UInt64>] = []
    /// How many bytes are here.
    public private(set) var byteCount: UInt64 = 0

    /// Holds nothing.
    public init() {}

    /// Adds a range.
    public mutating func insert(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        // The extents that overlap or touch the range become one with it.
        let first = self.firstIndex { $0.upperBound >= range.lowerBound }
        var last = first
        var lower = range.lowerBound
        var upper = range.upperBound
        while last < self.extents.count, self.extents[last].lowerBound <= range.upperBound {
            lower = min(lower, self.extents[last].lowerBound)
            upper = max(upper, self.extents[last].upperBound)
            self.byteCount -= UInt64(self.extents[last].count)
            last += 1
        }
        self.byteCount += upper - lower
        self.extents.replaceSubrange(first..<last, with: [lower..<upper])
    }

    /// Takes everything from an offset on away.
    public mutating func removeAll(from offset: UInt64) {
        let first = self.firstIndex { $0.upperBound > offset }
        guard first < self.extents.count else { return }
        let start = self.extents[first].lowerBound
        self.byteCount -= self.extents[first...].reduce(0) { $0 + UInt64($1.count) }
        self.extents.removeSubrange(first...)
        guard start < offset else { return }
        self.extents.append(start..<offset)
        self.byteCount += offset - start
    }

    /// Cuts a range into pieces that are here and pieces that are not, in order.
    public func pieces(of range: Range<UInt64>) -> [(range: Range<UInt64>, isHere: Bool)] {
        var pieces: [(range: Range<UInt64>, isHere: Bool)] = []
        var offset = range.lowerBound
        var index = self.firstIndex { $0.upperBound > range.lowerBound }
        while offset < range.upperBound {
            guard index < self.extents.count, self.extents[index].lowerBound < range.upperBound else {
                pieces.append((offset..<range.upperBound, false))
                break
            }
            let extent = self.extents[index]
            if extent.lowerBound > offset { pieces.append((offset..<extent.lowerBound, false)) }
            let here = max(offset, extent.lowerBound)..<min(extent.upperBound, range.upperBound)
            pieces.append((here, true))
            offset = here.upperBound
            index += 1
        }
        return pieces
    }

    /// The smallest gaps between extents, at most so many, in order.
    func smallestGaps(_ count: Int) -> [Range<UInt64>] {
        let gaps = zip(self.extents, self.extents.dropFirst()).map { $0.upperBound..<$1.lowerBound }
        return gaps.sorted { $0.count < $1.count }.prefix(count).sorted { $0.lowerBound < $1.lowerBound }
    }

    /// The first extent for which a condition holds that, once true, stays true.
    private func firstIndex(where isReached: (Range<UInt64>) -> Bool) -> Int {
        var low = 0
        var high = self.extents.count
        while low < high {
            let middle = (low + high) / 2
            if isReached(self.extents[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
