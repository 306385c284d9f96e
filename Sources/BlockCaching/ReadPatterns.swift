/// Sees how one handle's file is read: in order at several places, in equal steps, or here and there.
struct ReadPatterns {
    /// The places where it is read in order, the one read last at the end.
    private var cursors: [ReadCursor] = []
    private var strides = StrideDetector()
    /// How many reads went on nowhere so far: the clock by which a cursor is out of use.
    private var strayCount = 0

    /// As many as a reader of a table's columns has.
    private static let maximumCursorCount = 32

    /// Takes a read into account.
    ///
    /// - Parameters:
    ///   - range: The read, offsets in bytes, end exclusive, not empty.
    ///   - hadToWait: Whether its bytes were not here yet.
    ///   - size: The file's size in bytes.
    ///   - allowance: What may be ahead of the reader; called only if there is a pattern.
    /// - Returns: What to fetch ahead now, each range of bytes once.
    mutating func advance(
        _ range: Range<UInt64>,
        hadToWait: Bool,
        size: UInt64,
        allowance: () -> ReadAheadAllowance
    ) -> [Range<UInt64>] {
        let near = self.cursors.indices.compactMap { index in
            self.cursors[index].distance(to: range).map { (distance: $0, index: index) }
        }.min { $0.distance < $1.distance }
        if let near {
            var cursor = self.cursors.remove(at: near.index)
            if cursor.resume(after: self.strayCount) {
                defer { self.cursors.append(cursor) }
                return cursor.advance(range, hadToWait: hadToWait, size: size, allowance: allowance)
            }
        }
        if self.cursors.count == Self.maximumCursorCount { self.cursors.removeFirst() }
        self.strayCount += 1
        var cursor = ReadCursor(at: range.lowerBound, after: self.strayCount)
        let ahead = cursor.advance(range, hadToWait: hadToWait, size: size, allowance: allowance)
        self.cursors.append(cursor)
        return ahead + self.strides.advance(range, size: size, allowance: allowance)
    }
}

/// Sees reads that are equally far apart, as of one column of rows of equal length.
struct StrideDetector {
    private var lastStart: UInt64?
    private var stride: Int64 = 0
    /// How often the stride was seen in a row, the first time not counted.
    private var streak = 0
    /// How many steps ahead of the last read have been asked for.
    private var stepsAhead = 0

    private static let maximumStepsAhead = 64

    /// Takes a read that does not go on where another ended into account.
    mutating func advance(_ range: Range<UInt64>, size: UInt64, allowance: () -> ReadAheadAllowance)
        -> [Range<UInt64>]
    {
        defer { self.lastStart = range.lowerBound }
        guard let lastStart = self.lastStart else { return [] }
        let stride = Int64(range.lowerBound) - Int64(lastStart)
        guard stride == self.stride, stride != 0 else {
            self.stride = stride
            self.streak = 0
            self.stepsAhead = 0
            return []
        }
        self.streak += 1
        self.stepsAhead = max(0, self.stepsAhead - 1)
        let allowance = allowance()
        let step = max(UInt64(range.count), BlockGeometry.blockByteCount)
        let wanted = min(
            1 << min(self.streak, 6),
            Self.maximumStepsAhead,
            max(1, Int(min(allowance.window, allowance.room) / step))
        )
        var ranges: [Range<UInt64>] = []
        while self.stepsAhead < wanted {
            let start = Int64(range.lowerBound) + stride * Int64(self.stepsAhead + 1)
            guard start >= 0, UInt64(start) < size else { break }
            self.stepsAhead += 1
            ranges.append(UInt64(start)..<min(UInt64(start) + UInt64(range.count), size))
        }
        return ranges
    }
}
