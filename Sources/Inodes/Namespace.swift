import Logging
import Primitives
import RemoteAPI
import Synchronization
import WireFormat

/// The one who knows which inode is which path, what its directory holds, and when that was last true.
///
/// Kind and existence come from the parent's listing. All of it is memory under one lock, held for microseconds; what
/// waits for the service is in `Namespace+Listing.swift` and `Namespace+Sizes.swift`.
public final class Namespace: Sendable {
    struct State {
        var nodes: [InodeNumber: Node] = [:]
        var directories: [InodeNumber: Directory] = [:]
        var overrides: [InodeNumber: Overrides] = [:]
        var nextInode: UInt64 = 2
        var nextContent: UInt64 = 1
        /// Names of our own uploads on the service, which its listings may show (wire-protocol.md, Directories).
        var stagingNames: [InodeNumber: Set<FileName>] = [:]
        var sweeps: [InodeNumber: SizeSweep] = [:]
        var refusedNamesWereLogged = false
    }

    let state: Mutex<State>
    let remote: any RemoteFilesystem
    /// How long listings and sizes are believed.
    public let timeToLive: Duration
    let defaults: DefaultAttributes
    let now: @Sendable () -> ContinuousClock.Instant
    let logger: Logger
    let listings = SingleFlight<InodeNumber, Result<Void, RemoteError>>()
    let probes = SingleFlight<InodeNumber, Result<UInt64, RemoteError>>()
    /// Bounds the sizes asked for at once over the whole mount.
    let probePlaces = AsyncSemaphore(64)
    /// Bounds those of them that nobody waits for yet.
    let sweepPlaces = AsyncSemaphore(56)

    /// Makes a namespace of which only the root is known.
    ///
    /// - Parameters:
    ///   - remote: Who knows the names.
    ///   - timeToLive: How long listings and sizes are believed.
    ///   - defaults: What everything's attributes are.
    ///   - now: The clock.
    ///   - logger: Told of names that are refused.
    public init(
        remote: any RemoteFilesystem,
        timeToLive: Duration,
        defaults: DefaultAttributes,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        logger: Logger
    ) {
        self.remote = remote
        self.timeToLive = timeToLive
        self.defaults = defaults
        self.now = now
        self.logger = logger
        var state = State()
        // The root's name is never used: paths stop at its number.
        if let name = FileName("root") {
            state.nodes[.root] = Node(kind: .directory, parent: .root, name: name, lookupCount: 1)
        }
        self.state = Mutex(state)
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

    /// Keeps a node although the kernel may forget it; once per ``unpin(_:)``.
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

    /// The lookup count of a node, for tests; nothing if there is no such node.
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
        self.state.withLock { $0.makeContentID() }
    }

    func isFresh(_ instant: ContinuousClock.Instant?) -> Bool {
        guard let instant else { return false }
        return self.now() - instant < self.timeToLive
    }

    /// How much longer something may be believed.
    func remaining(_ instant: ContinuousClock.Instant?) -> Duration {
        guard let instant else { return .zero }
        return max(.zero, self.timeToLive - (self.now() - instant))
    }
}

extension Namespace.State {
    mutating func makeInode() -> InodeNumber {
        defer { self.nextInode += 1 }
        return InodeNumber(rawValue: self.nextInode)
    }

    mutating func makeContentID() -> ContentID {
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
        return node.detachedFacts ?? self.directories[node.parent]?.entries[node.name]?.facts
    }

    mutating func updateFacts(of inode: InodeNumber, _ change: (inout FileFacts) -> Void) {
        guard let node = self.nodes[inode] else { return }
        if var facts = node.detachedFacts {
            change(&facts)
            self.nodes[inode]?.detachedFacts = facts
        } else if var facts = self.directories[node.parent]?.entries[node.name]?.facts {
            change(&facts)
            self.directories[node.parent]?.entries[node.name]?.facts = facts
        }
    }

    /// The node of an entry, made if the kernel has not asked for it before.
    mutating func node(for entry: Entry, _ name: FileName, in parent: InodeNumber) {
        if self.nodes[entry.inode] == nil {
            self.nodes[entry.inode] = Node(kind: entry.kind, parent: parent, name: name)
        }
    }

    /// Frees a node that neither the kernel nor a handle has. Directories stay while they have a name: they are few,
    /// and the paths of what is below them go through them.
    mutating func dropIfUnused(_ inode: InodeNumber) {
        guard let node = self.nodes[inode], node.lookupCount == 0, node.pinCount == 0, inode != .root,
            node.kind == .file || node.isDetached
        else { return }
        self.nodes[inode] = nil
        if node.isDetached { self.overrides[inode] = nil }
    }
}
