import Logging
import Synchronization

/// What the log of a process is at: the least level that is written, which may change while it runs, and what was last
/// written of trouble.
final class LogState: Sendable {
    /// A warning, or worse.
    struct Problem: Codable, Sendable, Equatable {
        /// When, in seconds since 1970.
        var time: Int64
        /// Its level.
        var level: String
        /// The line, without secrets.
        var text: String
    }

    private struct Problems {
        var last: Problem?
        var counts: [String: UInt64] = [:]
    }

    private let threshold: Atomic<Int>
    private let problems = Mutex(Problems())

    /// Begins at a level.
    init(_ level: Logger.Level) {
        self.threshold = Atomic(Self.rank(level))
    }

    /// The least level that is written. Asked for each event, written or not.
    var level: Logger.Level {
        get { Logger.Level.allCases[self.threshold.load(ordering: .relaxed)] }
        set { self.threshold.store(Self.rank(newValue), ordering: .relaxed) }
    }

    /// The last warning, or worse, that was written.
    var lastProblem: Problem? { self.problems.withLock(\.last) }

    /// How many events of each level from `warning` on were written.
    var problemCounts: [String: UInt64] { self.problems.withLock(\.counts) }

    /// Takes an event into account that is being written.
    func note(_ level: Logger.Level, _ text: String, at time: Int64) {
        guard level >= .warning else { return }
        self.problems.withLock { problems in
            problems.last = Problem(time: time, level: level.rawValue, text: text)
            problems.counts[level.rawValue, default: 0] += 1
        }
    }

    /// The level of a name, in whatever case.
    static func level(_ text: String) -> Logger.Level? { Logger.Level(rawValue: text.lowercased()) }

    /// The levels' names, the least first.
    static var levels: [String] { Logger.Level.allCases.map(\.rawValue) }

    /// The same, for a line.
    static var levelNames: String { self.levels.joined(separator: ", ") }

    private static func rank(_ level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }
}
