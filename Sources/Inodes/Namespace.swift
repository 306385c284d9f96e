import Logging
import Primitives
import RemoteAPI
import Synchronization
import WireFormat

/// The one who knows which inode is which path, what its directory holds, and when that was last true.
///
/// Kind and existence come from the parent's listing. All of it is memory under one lock, held for microseconds; what
/// waits for the service is in `Namespace+Listing.swift` and `Namespace+Sizes.swift`, what asks it before anybody waits
/// in `Namespace+Ahead.swift`.
public final class Namespace: Sendable {
    struct State {
        var nodes: [InodeNumber: Node] = [:]
        /// What is known of the bytes of nodes whose name is gone.
        var detachedFacts: [InodeNumber: FileFacts] = [:]
        /// The largest size that the kernel was told of a file before a smaller one, in bytes, where that was so: it may
        /// not have heard of the smaller one yet.
        var formerSizes: [InodeNumber: UInt64] = [:]
        /// Files that the kernel was made to forget, and the largest size that it was told of each since, in bytes.
        var forgotten: [InodeNumber: UInt64] = [:]
        var directories: [InodeNumber: Directory] = [:]
        /// What programs set, of all names in memory; each takes 200 bytes.
        var overrides: [InodeNumber: SetAttributes] = [:]
        /// Those of which the store has not been told.
        var unsaved: Set<InodeNumber> = []
        var isSavingDue = false
        /// Whether what is remembered of names that are in no listing is to be forgotten.
        var forgetsUnlisted = false
        let store: any AttributeStore
        let saving: AsyncStream<Void>.Continuation
        var nextInode: UInt64
        var nextContent: UInt64 = 1
        /// Counts our changes of files: an answer that was asked for before a change is not stored after it.
        var epoch: UInt64 = 0
        var eviction: Eviction
        var crowding: Crowding
        var ages: ContentAges
        /// Names of our own uploads on the service, which its listings may show (wire-protocol.md, Directories).
        var stagingNames: [InodeNumber: Set<FileName>] = [:]
        var refusedNamesWereLogged = false
    }

    let state: Mutex<State>
    let remote: any RemoteFilesystem
    /// How long listings and sizes are believed.
    public let timeToLive: Duration
    /// How long sizes are believed.
    private let sizeTimeToLive: Duration
    /// How long a listing that came waits for what is remembered of its names.
    let recallLimit: Duration
    let defaults: DefaultAttributes
    let now: @Sendable () -> ContinuousClock.Instant
    let whenOutdated: @Sendable (RemotePath, EntryKind) -> Void
    let logger: Logger
    /// Those under way; each tells whether the directory was listed in the end.
    let listings = SingleFlight<InodeNumber, Result<Bool, RemoteError>>()
    let probes = SingleFlight<InodeNumber, Result<UInt64, RemoteError>>()
    /// What is asked for before anybody waits for it; ``state`` may be taken inside.
    let ahead: Mutex<Ahead>

    /// Makes a namespace of which only the root is known.
    ///
    /// - Parameters:
    ///   - remote: Who knows the names.
    ///   - timeToLive: How long listings and sizes are believed.
    ///   - listingBudget: How many bytes the listings of directories may take that are not in use. Beyond that
    ///     the directories least recently used are listed again when they are next asked for.
    ///   - nodeBudget: How many bytes what the kernel knows by number may take before it is made to forget some.
    ///   - blockTimeToLive: How long a version is believed while its size stays the same.
    ///   - isImmutable: Whether files on the service never change: a size that was seen once, and a version, are believed
    ///     without limit.
    ///   - attributes: Remembers what programs set.
    ///   - recallLimit: How long a listing waits for what is remembered of its names; then it fails.
    ///   - defaults: What everything's attributes are.
    ///   - now: The clock.
    ///   - whenOutdated: Told, with a lock held, of each file that was seen to have been replaced by somebody else, and
    ///     of each name that was seen to be gone.
    ///   - logger: Told of names that are refused.
    public init(
        remote: any RemoteFilesystem,
        timeToLive: Duration,
        listingBudget: Int = 32 << 20,
        nodeBudget: Int = 16 << 20,
        blockTimeToLive: Duration = .seconds(3600),
        isImmutable: Bool = false,
        attributes: any AttributeStore = VolatileAttributes(),
        recallLimit: Duration = .seconds(60),
        defaults: DefaultAttributes,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        whenOutdated: @escaping @Sendable (RemotePath, EntryKind) -> Void = { _, _ in },
        logger: Logger
    ) {
        self.remote = remote
        self.timeToLive = timeToLive
        self.sizeTimeToLive = isImmutable ? Self.forEver : timeToLive
        self.recallLimit = recallLimit
        self.defaults = defaults
        self.now = now
        self.whenOutdated = whenOutdated
        self.logger = logger
        let (saving, continuation) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        var state = State(
            store: attributes,
            saving: continuation,
            nextInode: max(2, attributes.firstFreeInode),
            eviction: Eviction(budget: listingBudget),
            crowding: Crowding(budget: nodeBudget),
            ages: ContentAges(lifetime: isImmutable ? Self.forEver : blockTimeToLive, from: now())
        )
        // The root's name is never used: paths stop at its number.
        if let name = FileName("root") {
            state.nodes[.root] = Node(kind: .directory, parent: .root, name: name, lookupCount: 1)
        }
        self.state = Mutex(state)
        // Beside those that are kept: few trees have directories so large that this matters.
        self.ahead = Mutex(Ahead(listingBudget: listingBudget / 2))
        Task { [weak self] in
            // Ends with the state, which has the other end.
            for await _ in saving {
                try? await Task.sleep(for: .seconds(1))
                self?.saveAttributes()
            }
        }
    }

    /// Where a file or directory is; nothing if it is gone.
    public func path(of inode: InodeNumber) -> RemotePath? {
        self.state.withLock { $0.path(of: inode) }
    }

    /// Whether the number stands for a directory; nothing if it is unknown.
    public func kind(of inode: InodeNumber) -> EntryKind? {
        self.state.withLock { $0.nodes[inode]?.kind }
    }

    /// Where the name of a file or directory stands; nothing if it is gone, or the root.
    public func location(of inode: InodeNumber) -> (parent: InodeNumber, name: FileName)? {
        self.state.withLock { state in
            guard inode != .root, let node = state.nodes[inode], !node.isDetached else { return nil }
            return (node.parent, node.name)
        }
    }

    /// Keeps a node although the kernel may forget it, and a directory's names in memory; once per ``unpin(_:)``.
    ///
    /// - Returns: Whether there is such a node; if not, no ``unpin(_:)`` is due.
    @discardableResult
    public func pin(_ inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            state.nodes[inode]?.pinCount += 1
            return state.nodes[inode] != nil
        }
    }

    /// Ends ``pin(_:)``.
    public func unpin(_ inode: InodeNumber) {
        self.state.withLock { state in
            state.nodes[inode]?.pinCount -= 1
            if state.nodes[inode]?.pinCount == 0 { state.mayEvictSoon(inode) }
            state.dropIfUnused(inode)
        }
    }

    /// The kernel forgets what it was told so many times (FUSE_FORGET).
    public func forget(_ inode: InodeNumber, count: UInt64) {
        self.state.withLock { state in
            guard let lookups = state.nodes[inode]?.lookupCount else { return }
            state.nodes[inode]?.lookupCount = lookups - min(count, lookups)
            state.dropIfUnused(inode)
        }
    }

    /// How often the kernel was told of a node and has not forgotten it; nothing if there is no such node.
    public func lookupCount(of inode: InodeNumber) -> UInt64? {
        self.state.withLock { $0.nodes[inode]?.lookupCount }
    }

    /// The directories from one up to the root's child, itself included; none if it has no path.
    public func ancestors(of directory: InodeNumber) -> [InodeNumber] {
        self.state.withLock { state in
            var ancestors: [InodeNumber] = []
            var inode = directory
            while inode != .root {
                guard let node = state.nodes[inode], !node.isDetached else { return [] }
                ancestors.append(inode)
                inode = node.parent
            }
            return ancestors
        }
    }

    /// A new version's name.
    public func makeContentID() -> ContentID {
        self.state.withLock { $0.makeContentID(at: self.now()) }
    }

    func isFresh(_ instant: ContinuousClock.Instant?) -> Bool {
        guard let instant else { return false }
        return self.now() - instant < self.timeToLive
    }

    /// Whether a size that was asked for at that time may be believed, be it for longer than the time to live.
    func isSizeFresh(_ instant: ContinuousClock.Instant?, orWithin age: Duration = .zero) -> Bool {
        guard let instant else { return false }
        return self.now() - instant < max(self.sizeTimeToLive, age)
    }

    /// How much longer a listing may be believed.
    func remaining(_ instant: ContinuousClock.Instant?) -> Duration {
        guard let instant else { return .zero }
        return max(.zero, self.timeToLive - (self.now() - instant))
    }

    /// How much longer a size may be believed.
    func remainingOfSize(_ instant: ContinuousClock.Instant?) -> Duration {
        guard let instant else { return .zero }
        return max(.zero, self.sizeTimeToLive - (self.now() - instant))
    }

    /// A hundred years: longer than any mount, and not too long to be counted in nanoseconds.
    private static let forEver = Duration.seconds(3_155_760_000)
}

extension Namespace.State {
    mutating func makeInode() -> InodeNumber {
        defer { self.nextInode += 1 }
        return InodeNumber(rawValue: self.nextInode)
    }

    mutating func makeContentID(at now: ContinuousClock.Instant) -> ContentID {
        self.ages.note(next: self.nextContent, at: now)
        defer { self.nextContent += 1 }
        return ContentID(rawValue: self.nextContent)
    }

    func path(of inode: InodeNumber) -> RemotePath? {
        var names: [FileName] = []
        var inode = inode
        while inode != .root {
            guard let node = self.nodes[inode], !node.isDetached else { return nil }
            names.append(node.name)
            inode = node.parent
        }
        return RemotePath(components: names.reversed())
    }

    /// What is known of a file's bytes, wherever it is kept.
    func facts(of inode: InodeNumber) -> FileFacts? {
        guard let node = self.nodes[inode] else { return nil }
        if let facts = self.detachedFacts[inode] { return facts }
        guard let entry = self.directories[node.parent]?[node.name], entry.inode == inode else { return nil }
        return entry.facts
    }

    mutating func updateFacts(of inode: InodeNumber, _ change: (inout FileFacts) -> Void) {
        guard let node = self.nodes[inode] else { return }
        if var facts = self.detachedFacts[inode] {
            change(&facts)
            self.detachedFacts[inode] = facts
        } else if var entry = self.directories[node.parent]?[node.name], entry.inode == inode {
            change(&entry.facts)
            self.update(node.parent) { $0[node.name] = entry }
        }
    }

    /// The number of a change of ours that is made now.
    mutating func makeEpoch() -> UInt64 {
        self.epoch += 1
        return self.epoch
    }

    mutating func insert(_ node: Node, as inode: InodeNumber) {
        self.nodes[inode] = node
        self.nodes[node.parent]?.childCount += 1
        self.crowding.add(node.byteCount)
    }

    /// Makes the node of an entry if the kernel has not asked for it before.
    ///
    /// - Returns: Whether there is one; not if its directory's number is known no more.
    @discardableResult
    mutating func makeNode(of entry: Entry, _ name: FileName, in parent: InodeNumber) -> Bool {
        if self.nodes[entry.inode] != nil { return true }
        guard self.nodes[parent] != nil else { return false }
        self.insert(Node(kind: entry.kind, parent: parent, name: name), as: entry.inode)
        return true
    }

    /// A node's name is gone while the kernel or a handle has it.
    mutating func detach(_ inode: InodeNumber, _ facts: FileFacts) {
        guard let parent = self.nodes[inode]?.parent, self.nodes[inode]?.isDetached == false else { return }
        self.nodes[inode]?.isDetached = true
        self.detachedFacts[inode] = facts
        self.dropIfUnused(inode)
        self.nodes[parent]?.childCount -= 1
        self.dropIfUnused(parent)
    }

    mutating func move(_ inode: InodeNumber, to parent: InodeNumber, _ name: FileName) {
        guard let old = self.nodes[inode]?.parent else { return }
        self.nodes[parent]?.childCount += 1
        self.crowding.remove(self.nodes[inode]?.byteCount ?? 0)
        self.nodes[inode]?.parent = parent
        self.nodes[inode]?.name = name
        self.crowding.add(self.nodes[inode]?.byteCount ?? 0)
        self.nodes[old]?.childCount -= 1
        self.dropIfUnused(old)
    }

    /// Frees a node that neither the kernel nor a handle has, and that is not on the path of another one; then those
    /// above it that were only on its path.
    mutating func dropIfUnused(_ inode: InodeNumber) {
        var inode = inode
        while inode != .root, let node = self.nodes[inode], node.lookupCount == 0, node.pinCount == 0,
            node.childCount == 0 || node.isDetached
        {
            if node.kind == .directory, self.directories[inode]?.flightCount ?? 0 > 0 {
                self.update(inode) { $0.isDropDue = true }
                return
            }
            self.save(inode)
            self.nodes[inode] = nil
            self.crowding.remove(node.byteCount)
            self.forgotten[inode] = nil
            if !self.formerSizes.isEmpty { self.formerSizes[inode] = nil }
            if node.isDetached {
                self.overrides[inode] = nil
                self.detachedFacts[inode] = nil
                return
            }
            self.nodes[node.parent]?.childCount -= 1
            inode = node.parent
        }
    }
}
