import Primitives
import RemoteAPI
import WireFormat

// What is asked for before a program asks: the listings of the directories that it comes to next, and the sizes of
// the files. Failures are silent: the program asks itself, and is told.

extension Namespace {
    /// A request that nobody waits for yet.
    private enum Wanted {
        case listing(InodeNumber)
        case size(FileEntry, in: InodeNumber)

        var directory: InodeNumber {
            switch self {
            case .listing(let directory), .size(_, let directory): directory
            }
        }
    }

    /// A program opens a directory: after having read the one above, it may go on with the directories that follow.
    public func noteOpened(_ directory: InodeNumber) {
        guard self.timeToLive > .zero, let (parent, name) = self.location(of: directory) else { return }
        let abandoned = self.ahead.withLock { ahead in
            ahead.open(
                directory,
                in: parent,
                at: self.now(),
                timeToLive: self.timeToLive,
                followers: { self.followers(of: directory, name, in: parent, last: $0) },
                more: self.followers(of:)
            )
            return ahead.takeAbandoned()
        }
        self.forgetUnused(abandoned)
        self.goAhead()
    }

    /// A program begins to read a directory's names, and may stat them next; ``endReading(_:)`` is due.
    public func beginReading(_ directory: InodeNumber) {
        self.ahead.withLock { ahead in
            ahead.noteRead(directory)
            ahead.sweep(directory) { $0.handleCount += 1 }
            self.expand(directory, &ahead)
        }
        self.goAhead()
    }

    /// A program reads a directory's names from an index on, and has seen those before.
    public func noteReading(_ directory: InodeNumber, from index: Int) {
        let isSwept = self.ahead.withLock { ahead in
            guard ahead.sweeps[directory]?.hasBegun == true else { return false }
            ahead.sweep(directory) { $0.advance(to: index - 1) }
            return true
        }
        if isSwept { self.goAhead() }
    }

    /// Ends ``beginReading(_:)``.
    public func endReading(_ directory: InodeNumber) {
        self.ahead.withLock { ahead in
            ahead.sweeps[directory]?.handleCount -= 1
            ahead.dropSweeps()
        }
    }

    /// A program asked for a file's size: if it goes through the directory in order, the next ones are asked for too.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - isKnown: Whether it was answered with the name, as far as the kernel is concerned: then it may also be
    ///     that only the name was wanted.
    public func noteSizeAsked(_ inode: InodeNumber, isKnown: Bool = false) {
        guard !self.ahead.withLock(\.isIdle), let (parent, name) = self.location(of: inode),
            self.kind(of: inode) == .file
        else { return }
        let mayGoOn = self.ahead.withLock { ahead in
            ahead.noteStat(in: parent, begins: !isKnown) { self.place(of: name, in: parent) }
        }
        if mayGoOn { self.goAhead() }
    }

    /// The files that a program which goes through the tree in listing order comes to after one of them, the next
    /// first: those after it in its directory, then those in the directories that are next on its walk, as far as
    /// they are listed.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - limit: How many at most.
    /// - Returns: Files with the directory of each; the kernel may know nothing of them yet (``known(_:in:)``).
    public func filesAhead(of file: InodeNumber, limit: Int) -> [(directory: InodeNumber, dirent: Dirent)] {
        guard let (parent, name) = self.location(of: file), let place = self.place(of: name, in: parent)
        else {
            return []
        }
        var files = self.files(in: parent, from: place.index + 1, limit: limit)
        let next: [InodeNumber] = self.ahead.withLock { ahead in
            ahead.walks.first { $0.visited.contains(parent) }.map { Array($0.listedStops) } ?? []
        }
        for directory in next where files.count < limit {
            files += self.files(in: directory, from: 0, limit: limit - files.count)
        }
        return files
    }

    /// Asks for as much as there is room for, and goes on whenever something came.
    private func goAhead() {
        // Else nothing that comes would be believed when it is wanted.
        guard self.timeToLive > .zero else { return }
        while let wanted = self.ahead.withLock({ self.takeNext(&$0) }) {
            Task {
                let isDone = await self.fetch(wanted)
                self.ahead.withLock { ahead in
                    ahead.inFlight -= 1
                    self.finish(wanted, isDone, &ahead)
                }
                self.goAhead()
            }
        }
    }

    /// What to ask for next. Listings come first: they are few, and without them nothing is known of what follows.
    private func takeNext(_ ahead: inout Ahead) -> Wanted? {
        guard ahead.inFlight < Ahead.places else { return nil }
        var wanted: Wanted?
        for index in ahead.walks.indices where wanted == nil && ahead.listings.hasRoom {
            wanted = ahead.walks[index].nextListing(
                timeToLive: self.timeToLive,
                limit: ahead.listings.window,
                known: self.freshSubdirectories
            ).map { .listing($0.inode) }
        }
        if wanted != nil { ahead.listings.begin() }
        if wanted == nil {
            wanted = ahead.nextSize(next: self.fileWithoutSize).map { .size($0.file, in: $0.directory) }
        }
        for index in ahead.walks.indices where wanted == nil {
            wanted = ahead.walks[index].nextSize(timeToLive: self.timeToLive) {
                self.fileWithoutSize(in: $0, $1..<Int.max)
            }.map { .size($0.file, in: $0.directory) }
        }
        if wanted != nil { ahead.inFlight += 1 }
        return wanted
    }

    private func fetch(_ wanted: Wanted) async -> Bool {
        let urgency = RequestUrgency.ahead()
        do throws(RemoteError) {
            switch wanted {
            case .listing(let directory): try await self.ensureListed(directory, urgency: urgency)
            case .size(let file, let directory):
                _ = try await self.probe(file.inode, file.name, in: directory, urgency: urgency)
            }
            return true
        } catch {
            return false
        }
    }

    private func finish(_ wanted: Wanted, _ isDone: Bool, _ ahead: inout Ahead) {
        let directory = wanted.directory
        if case .listing = wanted { ahead.listings.end() }
        guard isDone else {
            ahead.sweeps[directory]?.stop()
            for index in ahead.walks.indices { ahead.walks[index].fail(at: directory) }
            return
        }
        if case .listing = wanted { self.expand(directory, &ahead) }
    }

    /// The walks learn what is in a directory, if it is listed.
    private func expand(_ directory: InodeNumber, _ ahead: inout Ahead) {
        for index in ahead.walks.indices {
            ahead.walks[index].expand(directory) { self.subdirectories(of: directory) }
        }
    }
}
