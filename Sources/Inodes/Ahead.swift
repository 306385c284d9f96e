import Primitives
import RemoteAPI
import WireFormat

/// What programs were seen to be doing with names, and how much is asked for ahead of them.
struct Ahead {
    /// Bounds what is asked for and nobody waits for yet, over the whole mount: of the 64 connections one is free for who
    /// waits.
    static let places = 63
    /// Programs that go through trees at once; the one that went on last comes first. Of more, going on by turns, each
    /// would always be the one that was forgotten just before.
    static let walkCount = 32
    /// Directories that were read, whose children may be opened next.
    private static let readCount = 32

    /// Requests under way that are counted against ``places``.
    var inFlight = 0
    /// How many of them may be listings.
    var listings: ListingAllowance
    var walks: [Walk] = []
    /// By directory.
    var sweeps: [InodeNumber: SizeSweep] = [:]
    /// The sweeps that have begun, in the order in which it is their turn.
    private var turns: [InodeNumber] = []
    private var read: [Read] = []
    /// Directories that walks which ended had still to come to, and those that walks gave up.
    private var abandoned: [InodeNumber] = []

    private struct Read {
        let directory: InodeNumber
        /// The directory in it that was opened last.
        var lastOpened: InodeNumber?
    }

    /// Makes one.
    ///
    /// - Parameter listingBudget: What listings on their way may take, in bytes.
    init(listingBudget: Int) { self.listings = ListingAllowance(budget: listingBudget) }

    /// Whether nothing is going on.
    var isIdle: Bool { self.walks.isEmpty && self.sweeps.isEmpty }

    /// A directory is read from its start.
    mutating func noteRead(_ directory: InodeNumber) {
        self.read.removeAll { $0.directory == directory }
        self.read.append(Read(directory: directory))
        if self.read.count > Self.readCount { self.read.removeFirst() }
    }

    /// A directory is opened.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - parent: The one it is in.
    ///   - now: When.
    ///   - timeToLive: How long a listing is believed.
    ///   - followers: The directories that follow it next in `parent`, given the one opened last there, and whether that
    ///     came right before it; nothing if the two are in no order.
    ///   - more: The directories that follow another one next.
    mutating func open(
        _ directory: InodeNumber,
        in parent: InodeNumber,
        at now: ContinuousClock.Instant,
        timeToLive: Duration,
        followers: (_ last: InodeNumber?) -> (directories: [Sibling], isNext: Bool)?,
        more: (Sibling) -> [Sibling]
    ) {
        let read = self.read.firstIndex { $0.directory == parent }
        let last = read.flatMap { self.read[$0].lastOpened }
        if let read { self.read[read].lastOpened = directory }
        self.end(self.walks.filter { now - $0.lastOpened >= timeToLive })
        self.walks.removeAll { now - $0.lastOpened >= timeToLive }
        for index in self.walks.indices {
            let seen = self.walks[index].open(directory, at: now, timeToLive: timeToLive)
            guard let seen else { continue }
            var walk = self.walks.remove(at: index)
            self.abandoned += walk.takeGivenUp()
            walk.extend(more)
            self.walks.insert(walk, at: 0)
            if walk.isStatting { self.sweep(directory) { $0.begin(from: seen) } }
            self.dropSweeps()
            return
        }
        guard read != nil, let (directories, isNext) = followers(last) else { return }
        self.walks.insert(Walk(directory, before: directories, isNext: isNext, at: now), at: 0)
        self.end(self.walks.dropFirst(Self.walkCount))
        self.walks.removeLast(max(0, self.walks.count - Self.walkCount))
        self.dropSweeps()
    }

    private mutating func end(_ walks: some Sequence<Walk>) {
        self.abandoned += walks.flatMap(\.remaining)
    }

    /// Takes the directories of which nothing is expected any more.
    mutating func takeAbandoned() -> [InodeNumber] {
        defer { self.abandoned = [] }
        return self.abandoned
    }

    /// A program stats a file, or looks one up whose size is known, as stat(2) does.
    ///
    /// - Parameters:
    ///   - directory: The directory that the file is in.
    ///   - begins: Whether the stat of the first file begins a sweep.
    ///   - place: Where the file stands.
    /// - Returns: Whether there may be more to ask for.
    mutating func noteStat(
        in directory: InodeNumber,
        begins: Bool,
        place: () -> (index: Int, isFirst: Bool)?
    ) -> Bool {
        for index in self.walks.indices { self.walks[index].noteStat(in: directory) }
        guard let sweep = self.sweeps[directory], begins || sweep.hasBegun, let place = place(),
            sweep.hasBegun || place.isFirst
        else { return false }
        self.sweep(directory) { $0.advance(to: place.index) }
        return true
    }

    /// Changes the sweep of a directory, which is made if there is none.
    mutating func sweep(_ directory: InodeNumber, _ change: (inout SizeSweep) -> Void) {
        var sweep = self.sweeps[directory] ?? SizeSweep()
        let hadBegun = sweep.hasBegun
        change(&sweep)
        self.sweeps[directory] = sweep
        if sweep.hasBegun && !hadBegun { self.turns.append(directory) }
    }

    /// Forgets the sweeps of directories that are neither open nor just visited by a walk, which may have closed them
    /// before it asks for sizes.
    mutating func dropSweeps() {
        let dropped = self.sweeps.filter { directory, sweep in
            sweep.handleCount == 0 && !self.walks.contains { $0.visited.contains(directory) }
        }
        for directory in dropped.keys {
            self.sweeps[directory] = nil
            self.turns.removeAll { $0 == directory }
        }
    }

    /// The next file whose size to ask for in a directory that a program goes through; the directories take turns.
    mutating func nextSize<File>(
        next: (InodeNumber, Range<Int>) -> (index: Int, file: File)?
    ) -> (directory: InodeNumber, file: File)? {
        for (turn, directory) in self.turns.enumerated() {
            guard let range = self.sweeps[directory]?.range, !range.isEmpty else { continue }
            let found = next(directory, range)
            self.sweeps[directory]?.reach(found.map { $0.index + 1 } ?? range.upperBound)
            guard let found else { continue }
            self.turns.append(self.turns.remove(at: turn))
            return (directory, found.file)
        }
        return nil
    }
}
