/// A set of byte offsets, kept as few ranges in ascending order that neither overlap nor touch.
struct ByteRanges: Equatable, Sendable {
    private(set) var ranges: [Range<UInt64>] = []

    /// Adds the bytes of a range.
    mutating func insert(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        // Those that overlap or touch: ends at or after our start, starts at or before our end.
        let first = self.firstIndex { $0.upperBound >= range.lowerBound }
        var last = first
        var merged = range
        while last < self.ranges.count, self.ranges[last].lowerBound <= range.upperBound {
            let start = min(merged.lowerBound, self.ranges[last].lowerBound)
            let end = max(merged.upperBound, self.ranges[last].upperBound)
            merged = start..<end
            last += 1
        }
        self.ranges.replaceSubrange(first..<last, with: CollectionOfOne(merged))
    }

    /// Takes the bytes of a range out.
    mutating func remove(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        let first = self.firstIndex { $0.upperBound > range.lowerBound }
        var last = first
        var rest: [Range<UInt64>] = []
        while last < self.ranges.count, self.ranges[last].lowerBound < range.upperBound {
            let old = self.ranges[last]
            if old.lowerBound < range.lowerBound { rest.append(old.lowerBound..<range.lowerBound) }
            if old.upperBound > range.upperBound { rest.append(range.upperBound..<old.upperBound) }
            last += 1
        }
        self.ranges.replaceSubrange(first..<last, with: rest)
    }

    /// Whether any byte of the range is in the set.
    func overlaps(_ range: Range<UInt64>) -> Bool {
        let first = self.firstIndex { $0.upperBound > range.lowerBound }
        return !range.isEmpty && first < self.ranges.count && self.ranges[first].lowerBound < range.upperBound
    }

    /// The first run of bytes below `size` that is not in the set; none if all of them are.
    func firstGap(below size: UInt64) -> Range<UInt64>? {
        var end: UInt64 = 0
        for range in self.ranges {
            guard range.lowerBound > end else {
                end = range.upperBound
                continue
            }
            return end < size ? end..<min(range.lowerBound, size) : nil
        }
        return end < size ? end..<size : nil
    }

    /// Binary search, as parts of 64 KiB in random order make many ranges of a large file.
    private func firstIndex(where isPast: (Range<UInt64>) -> Bool) -> Int {
        var low = 0
        var high = self.ranges.count
        while low < high {
            let middle = (low + high) / 2
            if isPast(self.ranges[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
