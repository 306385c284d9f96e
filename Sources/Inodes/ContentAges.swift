import Primitives

/// How old versions are, without a time for each: their names are numbers that only grow, so that some moments at which
/// the numbers had come so far tell it.
struct ContentAges {
    private var marks: [(instant: ContinuousClock.Instant, next: UInt64)] = []
    private let lifetime: Duration
    /// Versions below it are over age.
    private var expired: UInt64 = 0

    /// - Parameter lifetime: How long a version is believed while its size stays the same.
    init(lifetime: Duration) {
        self.lifetime = lifetime
    }

    /// Whether a version is to be taken for another one although its size is the same.
    ///
    /// - Parameters:
    ///   - content: The version.
    ///   - now: The time.
    ///   - next: The number that the next new version will have.
    /// - Returns: Whether it has been believed for its lifetime.
    mutating func isOverAge(_ content: ContentID, at now: ContinuousClock.Instant, next: UInt64) -> Bool {
        // A version is over age at most a sixteenth of its lifetime late.
        if self.marks.last.map({ now - $0.instant >= self.lifetime / 16 }) ?? true {
            self.marks.append((now, next))
        }
        let count = self.marks.prefix { now - $0.instant >= self.lifetime }.count
        if count > 0 {
            self.expired = self.marks[count - 1].next
            self.marks.removeFirst(count)
        }
        return content.rawValue < self.expired
    }
}
