/// One place of a file at which it is read in order, forwards or backwards.
struct ReadCursor {
    /// What has been read in one piece, in bytes from the file's start, end exclusive; reads of a stream come in almost
    /// any order, since the kernel has two under way.
    private var covered: Range<UInt64>
    /// How many reads in a row went on at the covered piece's end; less than 0: at its start.
    private var streak = 0
    private var lastCount: UInt64
    /// How far ahead has been asked for: an end of the file's part that was, in bytes from the file's start.
    private var reached: UInt64
    /// How much is to be ahead of the reader, in bytes.
    private var window: UInt64 = 0
    /// How many reads had gone on nowhere when it was last read.
    private var strayCount: Int

    private static let leastRequest: UInt64 = 1 << 20
    private static let largestRequest: UInt64 = 16 << 20
    /// A read as large as this comes from a reader that the kernel takes for a sequential one.
    private static let largeRead: UInt64 = 128 << 10
    /// What two reads of an established stream may lie apart while one between them is still to come.
    private static let slack: UInt64 = 2 << 20
    private static let keptBehind: UInt64 = 8 << 20
    /// So many reads elsewhere are as nothing to a stream, as of a table's index between its rows.
    private static let patience = 4

    /// Begins where a read begins that goes on nowhere else.
    ///
    /// - Parameters:
    ///   - place: Where, in bytes from the file's start.
    ///   - strayCount: How many such reads there were, this one included.
    init(at place: UInt64, after strayCount: Int) {
        self.strayCount = strayCount
        self.covered = place..<place
        self.reached = place
        self.lastCount = 0
    }

    /// How far off a read is that goes on here; nothing if it does not.
    func distance(to range: Range<UInt64>) -> UInt64? {
        let slack = abs(self.streak) > 1 ? Self.slack : max(self.lastCount, UInt64(range.count))
        let gap: UInt64
        if range.lowerBound > self.covered.upperBound {
            gap = range.lowerBound - self.covered.upperBound
        } else if range.upperBound < self.covered.lowerBound {
            gap = self.covered.lowerBound - range.upperBound
        } else {
            gap = 0
        }
        return gap <= slack ? gap : nil
    }

    /// The reader comes back: the more often it read here and there meanwhile, the less it is taken to go on from here.
    ///
    /// - Parameter strayCount: How many reads went on nowhere so far.
    /// - Returns: `false` if it is not taken to do so at all.
    mutating func resume(after strayCount: Int) -> Bool {
        let count = strayCount - self.strayCount - Self.patience
        self.strayCount = strayCount
        guard count > 0, self.window > 0 else { return true }
        self.window >>= UInt64(count)
        return self.window >= Self.leastRequest
    }

    /// Takes a read that goes on here into account.
    ///
    /// - Parameters:
    ///   - range: The read.
    ///   - hadToWait: Whether its bytes were not here yet.
    ///   - size: The file's size in bytes.
    ///   - allowance: What may be ahead of the reader; called only if it reads in order.
    /// - Returns: What to fetch now, in the order in which it will be read.
    mutating func advance(
        _ range: Range<UInt64>,
        hadToWait: Bool,
        size: UInt64,
        allowance: () -> ReadAheadAllowance
    ) -> [Range<UInt64>] {
        self.lastCount = UInt64(range.count)
        // What lies far behind the reader is not kept, so that reading it once more is a stream again.
        if range.upperBound > self.covered.upperBound {
            if self.streak < 0 { self.restart(at: range.upperBound) }
            self.streak += 1
            let behind = range.upperBound - min(range.upperBound, Self.keptBehind)
            self.covered = max(min(self.covered.lowerBound, range.lowerBound), behind)..<range.upperBound
        } else if range.lowerBound < self.covered.lowerBound {
            if self.streak > 0 { self.restart(at: range.lowerBound) }
            self.streak -= 1
            let behind = range.lowerBound + Self.keptBehind
            self.covered = range.lowerBound..<min(max(self.covered.upperBound, range.upperBound), behind)
        } else {
            return []
        }
        guard self.isStream else { return [] }
        let allowance = allowance()
        self.grow(size, hadToWait: hadToWait, allowance)
        return self.streak > 0
            ? self.forwards(size, room: allowance.room) : self.backwards(room: allowance.room)
    }

    /// Whether reads in order are no chance any more: the third, or the second large one; at the file's start the first
    /// large one, for which the kernel asks only on behalf of somebody who reads on.
    private var isStream: Bool {
        if self.streak < 0 { return self.streak <= -2 }
        guard self.lastCount >= Self.largeRead else { return self.streak >= 3 }
        return self.streak >= 2 || self.covered.lowerBound == 0
    }

    private mutating func restart(at place: UInt64) {
        self.streak = 0
        self.window = 0
        self.reached = place
    }

    /// As long as the reader waits, four times as much is kept ahead of it. It begins with an eighth of the file, as a
    /// large one is worth as much as the way to the service holds.
    private mutating func grow(_ size: UInt64, hadToWait: Bool, _ allowance: ReadAheadAllowance) {
        if self.window == 0 {
            self.window = max(Self.leastRequest, min(size / 8, allowance.first))
        } else if hadToWait {
            self.window *= 4
        }
        self.window = min(self.window, allowance.window)
    }

    /// A power of two that leaves several requests under way, which the ends of all requests are multiples of, so that
    /// two streams that meet ask for the same pieces.
    private var request: UInt64 {
        // Of the largest ones four are under way, as many as memory has room for by default.
        let share: UInt64 = self.window < 4 * Self.largestRequest ? 8 : 4
        let wanted = min(max(self.window / share, Self.leastRequest), Self.largestRequest)
        return 1 << UInt64(63 - wanted.leadingZeroBitCount)
    }

    private mutating func forwards(_ size: UInt64, room: UInt64) -> [Range<UInt64>] {
        let position = self.covered.upperBound
        let request = self.request
        self.reached = max(self.reached, position)
        let end = min(position + self.window, self.reached + room, size)
        var ranges: [Range<UInt64>] = []
        while self.reached < end {
            let next = min((self.reached / request + 1) * request, size)
            // Until a whole request has room: small ones cost a round trip as large ones do.
            guard next <= end else { break }
            ranges.append(self.reached..<next)
            self.reached = next
        }
        return ranges
    }

    private mutating func backwards(room: UInt64) -> [Range<UInt64>] {
        let position = self.covered.lowerBound
        let request = self.request
        self.reached = min(self.reached, position)
        let end = max(position - min(position, self.window), self.reached - min(self.reached, room))
        var ranges: [Range<UInt64>] = []
        while self.reached > end {
            let next = (self.reached - 1) / request * request
            guard next >= end else { break }
            ranges.append(next..<self.reached)
            self.reached = next
        }
        return ranges
    }
}
