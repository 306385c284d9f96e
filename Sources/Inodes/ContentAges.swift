import Primitives

/// How old versions are, without a time for each: their names are numbers that only grow, so that some moments at which
/// the numbers had come so far tell it.
struct ContentAges {
    /// The moments, and the number that the next version was to have then; both only grow.
    private var marks: [(instant: ContinuousClock.Instant, next: UInt64)]
    private let lifetime: Duration

    /// Begins with no version.
    ///
    /// - Parameters:
    ///   - lifetime: How long a version is believed while its size stays the same.
    ///   - now: The time.
    init(lifetime: Duration, from now: ContinuousClock.Instant) {
        self.lifetime = lifetime
        self.marks = [(now, 0)]
    }

    /// A version is about to get a number.
    mutating func note(next: UInt64, at now: ContinuousClock.Instant) {
        // A version is taken for up to a sixteenth of its lifetime older than it is, never for younger.
        if let last = self.marks.last, now - last.instant < self.lifetime / 16 { return }
        self.marks.append((now, next))
    }

    /// Whether a version is to be taken for another one although its size is the same.
    mutating func isOverAge(_ content: ContentID, at now: ContinuousClock.Instant) -> Bool {
        self.marks.removeAll { now - $0.instant >= self.lifetime }
        // What was made before the oldest mark left is older than that, and may be over age.
        guard let oldest = self.marks.first else { return true }
        return content.rawValue < oldest.next
    }
}
