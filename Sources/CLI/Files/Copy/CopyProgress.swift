import Synchronization

/// How far a copy is.
final class CopyProgress: Sendable {
    /// The numbers.
    struct Counts: Sendable, Equatable {
        /// Files whose copy was begun.
        var files = 0
        /// Files that were copied.
        var copied = 0
        /// Files that were there already.
        var skipped = 0
        /// Files that failed, were passed over or stopped.
        var failed = 0
        /// Bytes of the files that were begun.
        var totalBytes: UInt64 = 0
        /// Bytes that came, or were there.
        var bytes: UInt64 = 0
        /// Whether no more files are to come.
        var isComplete = false
    }

    private let state = Mutex(Counts())

    /// The numbers now.
    var counts: Counts { self.state.withLock(\.self) }

    /// A file of so many bytes is to be copied.
    func begin(bytes: UInt64) { self.state.withLock { $0.totalBytes += bytes } }

    /// Bytes came, or were there.
    func add(bytes: UInt64) { self.state.withLock { $0.bytes += bytes } }

    /// Bytes that were there do not count after all.
    func remove(bytes: UInt64) { self.state.withLock { $0.bytes -= min(bytes, $0.bytes) } }

    /// Changes the numbers of files.
    func update(_ change: (inout Counts) -> Void) { self.state.withLock { change(&$0) } }
}

/// The line that shows how far a copy is.
struct CopyProgressLine {
    private var samples: [(time: Duration, bytes: UInt64)] = []

    /// Takes the rate over so long.
    private static let window = Duration.seconds(5)

    /// The line for a moment.
    ///
    /// - Parameters:
    ///   - counts: How far it is.
    ///   - time: Since its start.
    ///   - width: How many columns there are.
    /// - Returns: At most `width` characters. With a bar, a percentage and a time left only where all that is to come is
    ///   known.
    mutating func text(_ counts: CopyProgress.Counts, at time: Duration, width: Int) -> String {
        self.samples.append((time, counts.bytes))
        while self.samples.count > 2, time - self.samples[0].time > Self.window { self.samples.removeFirst() }
        let rate = self.rate
        let done = counts.copied + counts.skipped + counts.failed
        var parts = ["\(done)/\(counts.files)\(counts.isComplete ? "" : "+") files"]
        var total = ByteCountText.short(counts.bytes)
        if counts.isComplete, counts.totalBytes > 0 {
            let share = min(1, Double(counts.bytes) / Double(counts.totalBytes))
            total += "/\(ByteCountText.short(counts.totalBytes)) \(Int(share * 100))%"
            if width >= 72 { parts.insert(Self.bar(share), at: 0) }
        }
        parts.append(total)
        parts.append("\(ByteCountText.short(UInt64(rate)))/s")
        if counts.isComplete, rate >= 1 {
            let left = Double(counts.totalBytes - min(counts.bytes, counts.totalBytes)) / rate
            parts.append("\(Self.clock(left)) left")
        }
        // What is most worth knowing comes first where there is little room.
        return String(parts.joined(separator: "  ").prefix(width))
    }

    /// Bytes a second, lately.
    private var rate: Double {
        guard let first = self.samples.first, let last = self.samples.last, last.time > first.time else {
            return 0
        }
        let (seconds, attoseconds) = (last.time - first.time).components
        return Double(last.bytes - min(first.bytes, last.bytes))
            / (Double(seconds) + Double(attoseconds) / 1e18)
    }

    private static func bar(_ share: Double) -> String {
        let full = Int(share * 20)
        return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: 20 - full) + "]"
    }

    /// `0:05`, `12:00`, `3:00:00`.
    static func clock(_ seconds: Double) -> String {
        let total = Int(min(seconds.rounded(.up), 359_999))
        let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60)
        let two = { (number: Int) in number < 10 ? "0\(number)" : "\(number)" }
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
    }
}
