import Primitives

/// A program that opens the directories of a tree one after the other: each before its later siblings, and what is
/// below it before those, as find, du, tar, rsync, git and `os.walk` do.
///
/// It knows which directories come next, and says which of them to list ahead.
struct Walk {
    /// A directory that the program has not come to yet.
    private struct Stop {
        let place: Sibling
        /// Whether its listing is known, or was asked for ahead.
        var isAsked = false
        /// Whether its own directories stand before the next stop.
        var isExpanded = false
        /// Whether others beside it may follow it that are not known here yet.
        var hasMore = false
        /// How many of its names were gone through for sizes, and how many sizes were asked for.
        var nameCount = 0
        var sizeCount = 0

        var directory: InodeNumber { self.place.inode }
    }

    /// A directory that the program went past.
    private struct Passed {
        let directory: InodeNumber
        let wasAsked: Bool
        let visitCount: Int
    }

    /// In reverse, so that the next one is the last: what comes next changes, what comes late does not.
    private var stops: [Stop]
    /// Those of them that are asked for: of others nobody need look whether they are there, among a great many.
    private var awaited: Set<InodeNumber> = []
    /// What the program went past and may still open: threads that share a walk come a little out of order.
    private var passed: [Passed] = []
    /// What the program went past too long ago, and nobody was told of yet.
    private var givenUp: [InodeNumber] = []
    private var visitCount = 0
    /// The directories that were opened last, the newest at the end.
    private(set) var visited: [InodeNumber]
    /// Those of them whose own directories are not known yet.
    private var unexpanded: [InodeNumber]
    /// How many of the next directories to have listed: the longer the program keeps to the order, the more.
    private(set) var window: Int
    /// Whether the program went on since what comes after the directories below each other was looked for.
    private var mayLookAbove = false
    /// Whether something was listed in vain.
    private var hasWasted = false
    private(set) var lastOpened: ContinuousClock.Instant
    /// How long the program is on its way from one directory to the next, on average; nothing at first.
    private var pace: Duration?
    /// How many of its files' sizes the program asked for.
    private var statCount = 0
    /// How many sizes were asked for in directories not opened yet.
    private var sizesAhead = 0
    /// The limit with which nothing was left to list, and whether no size was left to ask for, until the program goes on
    /// or more is known: what many walks have to ask for is looked for at each stat and each answer.
    private var idleLimit: Int?
    private var hasNoSize = false
    /// How many directories were looked at to find what to ask for, for tests.
    private(set) var lookCount = 0

    /// Twice what may be under way, so that a slow answer at the front does not let the rest stand still.
    static let maximumWindow = 128
    static let maximumSizesAhead = 512
    /// How far ahead an opened directory may be: about what a walk has listed.
    private static let searchedCount = 512
    /// So many of the directories in one are known at a time: some have a hundred thousand.
    static let followerCount = 1024
    private static let visitedCount = 16
    /// How many directories later one that was passed is still expected.
    private static let patience = 8

    /// Makes the walk of a program that has read a directory and then opened one in it.
    ///
    /// - Parameters:
    ///   - directory: The one opened.
    ///   - followers: The directories beside it that come after it, in order: ``followerCount`` of them, if there are as
    ///     many.
    ///   - isNext: Whether the program left none out before it.
    ///   - now: When.
    init(
        _ directory: InodeNumber,
        before followers: [Sibling],
        isNext: Bool,
        at now: ContinuousClock.Instant
    ) {
        self.stops = Self.stops(followers)
        self.visited = [directory]
        self.unexpanded = [directory]
        // Who opens the first may well open the second.
        self.window = isNext ? 1 : 0
        self.lastOpened = now
    }

    /// The directories that the program has not come to.
    var remaining: [InodeNumber] { self.stops.map(\.directory) + self.passed.map(\.directory) + self.givenUp }

    /// Takes the directories that the program has left out.
    mutating func takeGivenUp() -> [InodeNumber] {
        defer { self.givenUp = [] }
        return self.givenUp
    }

    /// Whether the program asks for sizes on its way. One file may be what it looked for.
    var isStatting: Bool { self.statCount > 1 }

    /// A program opens a directory.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - now: When.
    ///   - timeToLive: How long a listing is believed.
    /// - Returns: How many of its names were gone through for sizes; nothing if it is not on this walk.
    mutating func open(
        _ directory: InodeNumber,
        at now: ContinuousClock.Instant,
        timeToLive: Duration
    ) -> Int? {
        if self.visited.contains(directory) { return 0 }
        var nameCount = 0
        var isExpanded = false
        if let index = self.passed.firstIndex(where: { $0.directory == directory }) {
            self.passed.remove(at: index)
            self.grow()
        } else {
            // By its indices: a slice would have the whole array copied below.
            let searched = self.stops.indices.suffix(Self.searchedCount)
            guard let index = searched.last(where: { self.stops[$0].directory == directory }) else {
                return nil
            }
            let opened = self.stops[index]
            (nameCount, isExpanded) = (opened.nameCount, opened.isExpanded)
            self.pass(self.stops[(index + 1)...])
            self.sizesAhead -= opened.sizeCount
            self.stops.removeSubrange(index...)
        }
        self.visit(directory, isExpanded: isExpanded, at: now, timeToLive: timeToLive)
        return nameCount
    }

    /// Takes in the next of the directories in one, once the program comes near the last that is known.
    mutating func extend(_ followers: (Sibling) -> [Sibling]) {
        let near = self.stops.indices.suffix(Self.searchedCount)
        guard let index = near.last(where: { self.stops[$0].hasMore }) else { return }
        self.stops[index].hasMore = false
        self.wake()
        self.stops.insert(contentsOf: Self.stops(followers(self.stops[index].place)), at: index)
    }

    /// Directories beside each other, in reverse.
    private static func stops(_ places: [Sibling]) -> [Stop] {
        var stops = places.reversed().map { Stop(place: $0) }
        if stops.count >= Self.followerCount { stops[0].hasMore = true }
        return stops
    }

    /// There may be something to ask for again.
    private mutating func wake() {
        self.idleLimit = nil
        self.hasNoSize = false
    }

    /// Who has read a directory, and opened the first in it and then the next one, goes on: as many are wanted as can be
    /// under way. Who was seen to leave some out has to show it for longer.
    private mutating func grow() {
        self.window = min(max(1, self.window * (self.hasWasted ? 4 : 64)), Self.maximumWindow)
    }

    /// Takes into account what the program went past to open the next one.
    private mutating func pass(_ skipped: ArraySlice<Stop>) {
        if skipped.isEmpty { self.grow() }
        self.passed += skipped.map {
            Passed(directory: $0.directory, wasAsked: $0.isAsked, visitCount: self.visitCount)
        }
        self.sizesAhead -= skipped.reduce(0) { $0 + $1.sizeCount }
    }

    /// Gives up what was passed too long ago: if it was listed, that was in vain.
    private mutating func giveUp() {
        let kept = self.passed.filter { self.visitCount - $0.visitCount <= Self.patience }
        let left = self.passed.prefix(self.passed.count - kept.count)
        if left.contains(where: \.wasAsked) {
            self.window /= 2
            self.hasWasted = true
        }
        self.givenUp += left.map(\.directory)
        self.awaited.subtract(left.map(\.directory))
        self.passed = kept
    }

    private mutating func visit(
        _ directory: InodeNumber,
        isExpanded: Bool,
        at now: ContinuousClock.Instant,
        timeToLive: Duration
    ) {
        let elapsed = now - self.lastOpened
        self.pace = self.pace.map { ($0 * 7 + elapsed) / 8 } ?? elapsed
        self.lastOpened = now
        if elapsed >= timeToLive {
            // What was listed ahead has grown too old.
            for index in self.stops.indices { self.stops[index].isAsked = false }
            self.window = min(self.window, 1)
        }
        self.wake()
        self.awaited.remove(directory)
        self.visitCount += 1
        self.mayLookAbove = true
        self.giveUp()
        self.visited.append(directory)
        if !isExpanded { self.unexpanded.append(directory) }
        if self.visited.count > Self.visitedCount {
            let left = self.visited.removeFirst()
            self.unexpanded.removeAll { $0 == left }
        }
    }

    /// The directories in a directory become known: they come next after it.
    ///
    /// - Parameters:
    ///   - directory: The directory; nothing happens if it is not on this walk, or was expanded before.
    ///   - children: The directories in it, in order: ``followerCount`` of them, if there are as many.
    mutating func expand(_ directory: InodeNumber, _ children: () -> [Sibling]) {
        if let index = self.unexpanded.firstIndex(of: directory) {
            self.unexpanded.remove(at: index)
            self.wake()
            self.stops += Self.stops(children())
        } else if self.awaited.remove(directory) != nil,
            // What was listed meanwhile may stand before it, as much as there is.
            let index = self.stops.lastIndex(where: { $0.directory == directory }),
            !self.stops[index].isExpanded
        {
            self.expand(at: index, children())
        }
    }

    private mutating func expand(at index: Int, _ children: [Sibling]) {
        self.wake()
        self.stops[index].isAsked = true
        self.stops[index].isExpanded = true
        self.stops.insert(contentsOf: Self.stops(children), at: index)
    }

    /// The indices of the stops that the program comes to soon enough for what is known of them to be of use.
    private func reach(_ timeToLive: Duration) -> Int {
        guard let pace, pace > .zero else { return self.window }
        // Half the time, since it may become slower.
        let count = timeToLive / (pace * 2)
        return count < Double(self.window) ? Int(count) : self.window
    }

    /// The next directory to list ahead.
    ///
    /// - Parameters:
    ///   - timeToLive: How long a listing is believed.
    ///   - limit: How many of the next directories are near enough at most.
    ///   - known: Told of each directory before it is listed. The directories in it, in order, as for
    ///     ``expand(_:_:)``, if its listing is fresh or there is none to be asked for; nothing for others.
    /// - Returns: The directory; nothing if all that are near enough are known or asked for.
    mutating func nextListing(
        timeToLive: Duration,
        limit: Int = .max,
        known: (Sibling) -> [Sibling]?
    ) -> Sibling? {
        if let idleLimit, limit <= idleLimit { return nil }
        let reach = min(limit, self.reach(timeToLive))
        if self.mayLookAbove, reach >= Self.maximumWindow {
            self.mayLookAbove = false
            if let index = self.nextAbove(within: 2 * reach), let place = self.ask(at: index, known).place {
                return place
            }
        }
        var left = reach
        var index = self.stops.count - 1
        while left > 0, index >= 0 {
            self.lookCount += 1
            if !self.stops[index].isAsked {
                let (place, childCount) = self.ask(at: index, known)
                if let place { return place }
                index += childCount
            }
            index -= 1
            left -= 1
        }
        self.idleLimit = limit
        return nil
    }

    /// The next directory that is further up in the tree than the one before it. What is in it has to be known once all
    /// before it are asked for: else there would be nothing to ask for until it comes.
    private func nextAbove(within count: Int) -> Int? {
        self.stops.indices.suffix(count).dropLast().last { index in
            let parent = self.stops[index].place.directory
            return !self.stops[index].isAsked && parent != self.stops[index + 1].place.directory
                && parent != self.stops[index + 1].directory
        }
    }

    /// Notes that a stop is asked for.
    ///
    /// - Returns: The directory to list; or, if what is in it is known, how many stops that makes before it.
    private mutating func ask(
        at index: Int,
        _ known: (Sibling) -> [Sibling]?
    ) -> (place: Sibling?, childCount: Int) {
        let stop = self.stops[index]
        self.stops[index].isAsked = true
        guard let children = known(stop.place) else {
            self.awaited.insert(stop.directory)
            return (stop.place, 0)
        }
        guard !stop.isExpanded else { return (nil, 0) }
        self.expand(at: index, children)
        return (nil, children.count)
    }

    /// The next file whose size to ask for ahead, in a directory that is listed and not opened yet.
    ///
    /// - Parameters:
    ///   - timeToLive: How long a size is believed.
    ///   - next: The first file without a size in a directory, from an index on.
    /// - Returns: The file and its directory; nothing if there is none, or enough were asked for.
    mutating func nextSize<File>(
        timeToLive: Duration,
        next: (InodeNumber, Int) -> (index: Int, file: File)?
    ) -> (directory: InodeNumber, file: File)? {
        guard self.isStatting, !self.hasNoSize else { return nil }
        for index in self.stops.indices.suffix(self.reach(timeToLive)).reversed() {
            if self.sizesAhead >= Self.maximumSizesAhead { break }
            self.lookCount += 1
            guard self.stops[index].isExpanded, self.stops[index].nameCount < .max else { continue }
            let directory = self.stops[index].directory
            guard let found = next(directory, self.stops[index].nameCount) else {
                self.stops[index].nameCount = .max
                continue
            }
            self.stops[index].nameCount = found.index + 1
            self.stops[index].sizeCount += 1
            self.sizesAhead += 1
            return (directory, found.file)
        }
        self.hasNoSize = true
        return nil
    }

    /// The directories that come next and are listed, the next first.
    var listedStops: some Sequence<InodeNumber> {
        self.stops.reversed().lazy.prefix(Self.maximumWindow).filter(\.isExpanded).map(\.directory)
    }

    /// A program asks for the size of a file in a directory.
    mutating func noteStat(in directory: InodeNumber) {
        if !self.isStatting, self.visited.contains(directory) { self.statCount += 1 }
    }

    /// Whether a directory is to come that is asked for ahead.
    func awaits(_ directory: InodeNumber) -> Bool { self.awaited.contains(directory) }

    /// A request about a directory that is ahead failed: the program is to meet what is wrong itself.
    mutating func fail(at directory: InodeNumber) {
        if self.awaited.remove(directory) != nil { self.window = 0 }
    }
}
