import DequeModule
import Primitives

/// Which of the files that wait is uploaded next, and when: decides, and does nothing.
///
/// Many small files go up at once, a few large ones. After a failure that may pass, a file waits longer each time, and
/// while nothing succeeds only one file at a time tries, in turn.
struct UploadSchedule: Sendable {
    /// What became of an upload.
    enum Outcome: Sendable, Hashable {
        /// The service has it.
        case done
        /// Nothing waits, or what waits is not to be uploaded yet.
        case skipped
        /// A writer was faster.
        case outrun
        /// It was stopped from here.
        case stopped
        /// A directory above it is being moved.
        case heldUp
        /// The service answered that it failed; it may succeed some time later.
        case failedForNow
        /// Nothing came from the service; it may succeed some time later.
        case unanswered
        /// It was refused.
        case refused
    }

    /// What is to be done now.
    enum Step: Sendable, Hashable {
        /// Upload this one.
        case start(InodeNumber)
        /// Nothing before this moment.
        case wait(until: ContinuousClock.Instant)
        /// Nothing before something is added or ends.
        case idle
    }

    private struct File {
        var weight: Int
        var failureCount = 0
        /// Nothing while it is in `ready` or running.
        var notBefore: ContinuousClock.Instant?
        /// How many failures in a row there had been when it was started; nothing if it is not running.
        var startedAfter: Int?
        /// When it is to be uploaded once more, if it was added again while it was running.
        var again: ContinuousClock.Instant?
    }

    /// How much is under way at once: leaves some of the service's places to those who read.
    static let capacity = 56
    /// Bytes that count as one small file.
    private static let weightUnit: UInt64 = 8 << 20
    private static let largestWeight = 8
    private static let shortestPause = Duration.milliseconds(500)
    private static let longestPause = Duration.seconds(60)

    private var files: [InodeNumber: File] = [:]
    private var ready: Deque<InodeNumber> = []
    private var delayedCount = 0
    /// No later than the first moment at which a file is due.
    private var nextDue: ContinuousClock.Instant?
    private var runningWeight = 0
    private var pausedUntil: ContinuousClock.Instant?
    /// Counts failures without a success between, those of uploads that ran side by side as one.
    private(set) var failuresInARow = 0
    /// Counts in the same way those without an answer between.
    private(set) var silencesInARow = 0

    /// How many are under way.
    var runningCount: Int { self.files.values.count { $0.startedAfter != nil } }

    /// Adds a file, or says that it has something new to upload.
    ///
    /// - Parameters:
    ///   - file: Which.
    ///   - byteCount: Its size.
    ///   - due: When it may go, the earlier of two if it waits already.
    ///   - now: The time.
    ///   - isRenewed: Whether that also holds where it is later than what was said before.
    mutating func add(
        _ file: InodeNumber,
        byteCount: UInt64,
        due: ContinuousClock.Instant,
        now: ContinuousClock.Instant,
        isRenewed: Bool = false
    ) {
        let weight = min(Self.largestWeight, 1 + Int(byteCount / Self.weightUnit))
        guard var known = self.files[file] else {
            self.files[file] = File(weight: weight)
            return self.enqueue(file, due: due, now: now)
        }
        if known.startedAfter != nil {
            known.again = known.again.map { isRenewed ? due : min($0, due) } ?? due
            self.files[file] = known
            return
        }
        known.weight = weight
        self.files[file] = known
        // What failed before keeps its pause.
        guard let notBefore = known.notBefore, known.failureCount == 0 else { return }
        guard due < notBefore || isRenewed else { return }
        self.delayedCount -= 1
        self.enqueue(file, due: due, now: now)
    }

    private mutating func enqueue(
        _ file: InodeNumber,
        due: ContinuousClock.Instant,
        now: ContinuousClock.Instant
    ) {
        if due <= now {
            self.files[file]?.notBefore = nil
            self.ready.append(file)
        } else {
            self.files[file]?.notBefore = due
            self.delayedCount += 1
            self.nextDue = min(self.nextDue ?? due, due)
        }
    }

    /// Everything that waits may go now: no pause, no delay.
    mutating func hurry() {
        self.goOn()
        self.silencesInARow = 0
        let delayed = self.files.compactMap { file, known in known.notBefore.map { ($0, file) } }
        self.release(delayed)
        self.nextDue = nil
    }

    /// Some of the files may go now that wait for their time.
    mutating func hurry(_ files: Set<InodeNumber>) {
        self.release(files.compactMap { file in self.files[file]?.notBefore.map { ($0, file) } })
    }

    /// Nothing is to be uploaded of a file that does not run.
    mutating func remove(_ file: InodeNumber) {
        guard let known = self.files[file], known.startedAfter == nil else { return }
        self.files[file] = nil
        if known.notBefore != nil {
            self.delayedCount -= 1
        } else if let index = self.ready.firstIndex(of: file) {
            self.ready.remove(at: index)
        }
    }

    /// What did not fail itself may go now, side by side.
    mutating func goOn() {
        self.pausedUntil = nil
        self.failuresInARow = 0
    }

    /// Puts delayed files among those that may go, in the order in which they were to.
    private mutating func release(_ delayed: [(notBefore: ContinuousClock.Instant, file: InodeNumber)]) {
        for (_, file) in delayed.sorted(by: { ($0.notBefore, $0.file) < ($1.notBefore, $1.file) }) {
            self.files[file]?.notBefore = nil
            self.ready.append(file)
        }
        self.delayedCount -= delayed.count
    }

    /// What is to be done; to be asked again after each `.start`.
    mutating func next(now: ContinuousClock.Instant) -> Step {
        if let pausedUntil, now < pausedUntil {
            return self.ready.isEmpty && self.delayedCount == 0 ? .idle : .wait(until: pausedUntil)
        }
        self.pausedUntil = nil
        self.takeDue(now)
        guard let file = self.ready.first, let known = self.files[file] else {
            return self.nextDue.map { .wait(until: $0) } ?? .idle
        }
        let room = self.failuresInARow > 0 ? 1 : Self.capacity
        guard self.runningWeight == 0 || self.runningWeight + known.weight <= room else { return .idle }
        self.ready.removeFirst()
        self.runningWeight += known.weight
        self.files[file]?.startedAfter = self.failuresInARow
        return .start(file)
    }

    private mutating func takeDue(_ now: ContinuousClock.Instant) {
        guard let nextDue, nextDue <= now else { return }
        var due: [(notBefore: ContinuousClock.Instant, file: InodeNumber)] = []
        var rest: ContinuousClock.Instant?
        for (file, known) in self.files {
            guard let notBefore = known.notBefore else { continue }
            if notBefore <= now {
                due.append((notBefore, file))
            } else {
                rest = min(rest ?? notBefore, notBefore)
            }
        }
        self.release(due)
        self.nextDue = rest
    }

    /// An upload that was started has ended.
    ///
    /// - Parameters:
    ///   - file: Whose.
    ///   - outcome: What became of it.
    ///   - now: The time.
    ///   - isWaitedFor: Whether somebody came meanwhile who waits for another one: then that makes no pause.
    /// - Returns: Whether the file waits for another one.
    @discardableResult
    mutating func end(
        _ file: InodeNumber,
        _ outcome: Outcome,
        now: ContinuousClock.Instant,
        isWaitedFor: Bool = false
    ) -> Bool {
        guard var known = self.files[file], let startedAfter = known.startedAfter else { return false }
        self.runningWeight -= known.weight
        known.startedAfter = nil
        let again = known.again
        known.again = nil
        var due = again
        switch outcome {
        case .done:
            self.failuresInARow = 0
            self.silencesInARow = 0
            known.failureCount = 0
        case .outrun, .skipped: known.failureCount = 0
        case .stopped: due = again ?? now + Self.shortestPause
        // Somebody says when that is over.
        case .heldUp: due = now + Self.longestPause
        // Of the service it says nothing bad.
        case .refused:
            self.failuresInARow = 0
            self.silencesInARow = 0
        case .failedForNow, .unanswered:
            known.failureCount += 1
            due = isWaitedFor ? now : now + Self.pause(after: known.failureCount)
            let isAnother = startedAfter >= self.failuresInARow
            if outcome == .failedForNow { self.silencesInARow = 0 }
            if isAnother {
                if outcome == .unanswered { self.silencesInARow += 1 }
                self.failuresInARow += 1
                self.pausedUntil = now + Self.pause(after: self.failuresInARow)
            }
        }
        guard let due else {
            self.files[file] = nil
            return false
        }
        self.files[file] = known
        self.enqueue(file, due: due, now: now)
        return true
    }

    private static func pause(after failureCount: Int) -> Duration {
        min(Self.longestPause, Self.shortestPause * (1 << min(failureCount - 1, 10)))
    }
}
