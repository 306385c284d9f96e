import Inodes
import Primitives
import WireFormat

/// Sees that programs read the files of directories in listing order, and decides how many of the next files' contents
/// to ask for ahead of them.
///
/// Each directory has its own pattern, so that several programs do not disturb one another. A walk that is through with
/// a directory hands its window on to the next one.
struct ReadWalks {
    typealias Instant = ContinuousClock.Instant

    /// What to ask for now: so many of the files after a name, or of the directory's first ones.
    struct Ahead: Equatable {
        let directory: InodeNumber
        let name: FileName?
        let count: Int
    }

    private struct Walk {
        /// The file that was read last; nothing in a directory that a walk is only expected to go on in.
        var last: Sibling?
        /// How many files were read one after the other.
        var run = 0
        /// How many files to keep ahead of the reader; 0 while no pattern is seen.
        var window = 0
        /// Up to here files were asked for.
        var reached: FileName?
        /// Files asked for and not read yet, with the bytes that they take or may take.
        var unread: [Sibling: UInt64] = [:]
        /// What a file of unknown size is taken to have: what the last one had, in bytes.
        var typicalByteCount: UInt64 = 0
        var asOf: Instant
        /// What its files are fetched as a part of.
        let number: UInt64
    }

    private struct Ended {
        let directory: InodeNumber
        let walk: Walk
    }

    private var walks: [InodeNumber: Walk] = [:]
    /// Directories that a walk is through with, the latest last; each is followed by one at most.
    private var ended: [Ended] = []
    /// Walks that others took the place of. Several workers of one program look like that, and may still read the files.
    private var left: [(number: UInt64, asOf: Instant)] = []
    private var nextNumber: UInt64 = 0
    /// Those of which nothing is expected to be read any more.
    private var dropped: [UInt64] = []
    /// What unread files may take, in bytes.
    private let byteLimit: UInt64

    /// Files read one after the other that make a pattern.
    private static let patternLength = 2
    /// Files ahead at most, of all walks together: there are 64 connections, and who waits goes first.
    static let maximumWindow = 48
    /// Files that a walk may pass over, as several workers of one program do for a while.
    private static let maximumSkipCount = 8
    /// After so long without a read a walk has stopped.
    static let patience = Duration.seconds(10)
    private static let maximumWalkCount = 64
    private static let maximumEndedCount = 16

    /// Knows of no walk.
    ///
    /// - Parameter byteLimit: What files ahead may take until they are read, in bytes.
    init(byteLimit: UInt64) {
        self.byteLimit = byteLimit
    }

    /// How many files are ahead of their readers, for tests.
    var unreadCount: Int { self.walks.values.reduce(0) { $0 + $1.unread.count } }

    /// What they take or may take, in bytes.
    var unreadByteCount: UInt64 {
        self.walks.values.reduce(0) { sum, walk in walk.unread.values.reduce(sum, +) }
    }

    /// Whether a directory's files are asked for ahead.
    func isActive(_ directory: InodeNumber) -> Bool { (self.walks[directory]?.window ?? 0) > 0 }

    /// Takes the first read of a file, from its start, into account.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - size: Its size in bytes.
    ///   - neighbours: The files right before and after it.
    ///   - now: The time.
    /// - Returns: What to ask for; nothing if enough is under way, or there is no pattern.
    mutating func didRead(
        _ file: Sibling,
        size: UInt64,
        neighbours: (before: InodeNumber?, after: InodeNumber?),
        at now: Instant
    ) -> Ahead? {
        self.dropStopped(at: now)
        var walk = self.walks[file.directory] ?? self.makeWalk(at: now)
        walk.asOf = now
        let wasAhead = walk.unread.removeValue(forKey: file) != nil
        let isAgain = walk.last == file
        let isNext = neighbours.before == walk.last?.inode && (walk.last != nil || walk.window > 0)
        if wasAhead || isNext {
            walk.run += 1
            walk.last = walk.last.map { max($0, file) { $0.name < $1.name } } ?? file
        } else if !isAgain {
            walk = self.replace(walk, from: file, at: now)
        }
        walk.typicalByteCount = size
        let passed = walk.last.map { last in walk.unread.keys.count { $0.name < last.name } } ?? 0
        if passed > Self.maximumSkipCount { walk = self.replace(walk, from: file, at: now) }
        guard walk.run >= Self.patternLength else {
            self.walks[file.directory] = walk
            return nil
        }
        if !isAgain { walk.window = min(max(2, walk.window * 2), Self.maximumWindow) }
        if neighbours.after == nil, walk.last == file {
            self.walks[file.directory] = nil
            self.end(Ended(directory: file.directory, walk: walk))
            return nil
        }
        if let reached = walk.reached, let last = walk.last, reached < last.name { walk.reached = last.name }
        self.walks[file.directory] = walk
        return self.ahead(in: file.directory, from: walk.reached ?? walk.last?.name)
    }

    /// From where a walk may have come into a directory that it is not known to be in: the directories that walks are
    /// through with, the latest first, and the one above, if its files are asked for ahead.
    func origins(of directory: InodeNumber, parent: InodeNumber?, at now: Instant) -> [InodeNumber] {
        guard self.walks[directory] == nil else { return [] }
        let ended = self.ended.reversed().filter { now - $0.walk.asOf < Self.patience }.map(\.directory)
        guard let parent, let above = self.walks[parent], above.window > 0, now - above.asOf < Self.patience
        else { return ended }
        return ended + [parent]
    }

    /// A walk goes on in another directory, before it read any of its files.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - origin: Where it was, one of ``origins(of:parent:at:)`` a moment ago: others may have gone on from there since.
    ///   - isEmpty: Whether the directory has no files: then the walk is through with it at once.
    ///   - now: The time.
    /// - Returns: What to ask for.
    mutating func enter(
        _ directory: InodeNumber,
        from origin: InodeNumber,
        isEmpty: Bool,
        at now: Instant
    ) -> Ahead? {
        self.dropStopped(at: now)
        var walk: Walk
        if let index = self.ended.lastIndex(where: { $0.directory == origin }) {
            let before = self.ended.remove(at: index).walk
            walk = Walk(window: before.window, asOf: now, number: before.number)
            walk.typicalByteCount = before.typicalByteCount
        } else if let before = self.walks[origin], before.window > 0 {
            walk = self.makeWalk(at: now)
            walk.window = before.window
            walk.typicalByteCount = before.typicalByteCount
        } else {
            return nil
        }
        walk.run = Self.patternLength
        guard !isEmpty else {
            self.end(Ended(directory: directory, walk: walk))
            return nil
        }
        // Another task may have come in just before.
        if let other = self.walks.updateValue(walk, forKey: directory) { self.leave(other) }
        return self.ahead(in: directory, from: nil)
    }

    private mutating func end(_ ended: Ended) {
        self.ended.append(ended)
        if self.ended.count > Self.maximumEndedCount { self.leave(self.ended.removeFirst().walk) }
    }

    private mutating func makeWalk(at now: Instant) -> Walk {
        self.nextNumber += 1
        return Walk(asOf: now, number: self.nextNumber)
    }

    private mutating func replace(_ walk: Walk, from file: Sibling, at now: Instant) -> Walk {
        self.leave(walk)
        var next = self.makeWalk(at: now)
        next.last = file
        next.run = 1
        return next
    }

    private mutating func leave(_ walk: Walk) {
        if walk.window > 0 { self.left.append((walk.number, walk.asOf)) }
    }

    /// Takes the numbers of the walks that ended, of which nothing is expected to be read any more.
    mutating func takeDropped() -> [UInt64] {
        defer { self.dropped = [] }
        return self.dropped
    }

    /// The number of the walk ahead of which a file was asked for; nothing if it was read by now, or the walk has ended.
    func number(of file: Sibling) -> UInt64? {
        guard let walk = self.walks[file.directory], walk.unread[file] != nil else { return nil }
        return walk.number
    }

    private func ahead(in directory: InodeNumber, from name: FileName?) -> Ahead? {
        guard let walk = self.walks[directory] else { return nil }
        let share = max(2, Self.maximumWindow / self.walks.values.count { $0.window > 0 })
        let count = min(
            min(walk.window, share) - walk.unread.count,
            Self.maximumWindow - self.unreadCount
        )
        return count > 0 ? Ahead(directory: directory, name: name, count: count) : nil
    }

    /// Takes a file for asked for, if what it may take fits beside the others.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - size: Its size in bytes; nothing if it is not known.
    ///   - countedBytes: What is fetched ahead of a file of a size.
    /// - Returns: Whether it is to be asked for.
    mutating func take(_ file: Sibling, size: UInt64?, countedBytes: (UInt64) -> UInt64) -> Bool {
        guard let walk = self.walks[file.directory], walk.window > 0 else { return false }
        let byteCount = countedBytes(size ?? max(walk.typicalByteCount, 1))
        guard self.unreadByteCount + byteCount <= self.byteLimit else { return false }
        self.walks[file.directory]?.reached = file.name
        if byteCount > 0 { self.walks[file.directory]?.unread[file] = byteCount }
        return true
    }

    /// The size of a file that was asked for came in.
    ///
    /// - Returns: Whether the walk goes on and so many bytes of it fit beside the others.
    mutating func resize(_ file: Sibling, to byteCount: UInt64) -> Bool {
        guard let counted = self.walks[file.directory]?.unread[file] else { return false }
        let others = self.unreadByteCount - counted
        guard byteCount > 0 else {
            self.walks[file.directory]?.unread[file] = nil
            return false
        }
        guard others + byteCount <= self.byteLimit else { return false }
        self.walks[file.directory]?.unread[file] = byteCount
        return true
    }

    /// A file was opened and closed without being read: the program wants something else of the files.
    mutating func stop(in directory: InodeNumber) {
        if let walk = self.walks.removeValue(forKey: directory) { self.dropped.append(walk.number) }
    }

    private mutating func dropStopped(at now: Instant) {
        func hasStopped(_ asOf: Instant) -> Bool { now - asOf >= Self.patience }
        self.dropped += self.walks.values.filter { hasStopped($0.asOf) }.map(\.number)
        self.dropped += self.ended.filter { hasStopped($0.walk.asOf) }.map(\.walk.number)
        self.dropped += self.left.filter { hasStopped($0.asOf) }.map(\.number)
        self.walks = self.walks.filter { !hasStopped($0.value.asOf) }
        self.ended.removeAll { hasStopped($0.walk.asOf) }
        self.left.removeAll { hasStopped($0.asOf) }
        guard self.walks.count >= Self.maximumWalkCount,
            let oldest = self.walks.min(by: { $0.value.asOf < $1.value.asOf })?.key
        else { return }
        if let walk = self.walks.removeValue(forKey: oldest) { self.leave(walk) }
    }
}

/// How often the first bytes of a file may still be asked for on the guess that a program which wants its attributes is
/// about to read it. Spent by each guess, earned by each read: what only stats files soon causes no guesses.
struct ReadGuesses {
    private static let most = 4
    private var left = Self.most

    /// Takes one, if there is one.
    mutating func spend() -> Bool {
        guard self.left > 0 else { return false }
        self.left -= 1
        return true
    }

    /// A file was opened and read.
    mutating func earn() { self.left = min(self.left + 1, Self.most) }
}

private func max(_ a: Sibling, _ b: Sibling, _ isBefore: (Sibling, Sibling) -> Bool) -> Sibling {
    isBefore(a, b) ? b : a
}
