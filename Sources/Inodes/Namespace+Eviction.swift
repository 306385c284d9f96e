import Primitives
import RemoteAPI
import WireFormat

/// What bounds the memory of listings, and when that was last looked at.
struct Eviction {
    /// How many bytes listings may take.
    let budget: Int
    /// How many they take.
    var byteCount = 0
    /// Counts the uses of directories.
    var useCount: UInt64 = 0
    /// The directory used last: it stays, whatever its size.
    var lastUsed = InodeNumber.root
    /// Those that may go, the least recently used last.
    var candidates: [(inode: InodeNumber, lastUse: UInt64)] = []
    /// The size from which it is worth looking for something to evict: above the budget when not enough can go.
    var threshold: Int
    var evictedCount = 0

    init(budget: Int) {
        self.budget = budget
        self.threshold = budget
    }
}

/// What a namespace holds in memory.
public struct NameMemory: Sendable, Hashable {
    /// What directories' names and their files' sizes take, in bytes, about.
    public let listingByteCount: Int
    /// Directories of which anything is known.
    public let directoryCount: Int
    /// Names that are known.
    public let nameCount: Int
    /// What the kernel or a handle knows by number, and the directories above.
    public let nodeCount: Int
    /// How often a directory's names were dropped to keep to the budget.
    public let evictedCount: Int
}

extension Namespace {
    /// What names take in memory, in bytes: those of listings and those that the kernel knows, with a budget for each.
    public var byteCount: Int { self.state.withLock { $0.byteCount + $0.crowding.byteCount } }

    /// What the kernel or a handle knows by number, and the directories above.
    public var nodeCount: Int { self.state.withLock { $0.nodes.count } }

    /// What is held in memory; it goes through all directories.
    public var memory: NameMemory {
        self.state.withLock { state in
            NameMemory(
                listingByteCount: state.byteCount,
                directoryCount: state.directories.count,
                nameCount: state.directories.values.reduce(0) { $0 + $1.liveCount },
                nodeCount: state.nodes.count,
                evictedCount: state.eviction.evictedCount
            )
        }
    }

    /// Keeps a directory's names in memory until ``endHold(_:)``.
    ///
    /// - Returns: Whether there is such a directory; if not, nothing is to be ended.
    func beginHold(_ directory: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard state.nodes[directory]?.isDetached == false else { return false }
            state.make(directory) { $0.holdCount += 1 }
            return true
        }
    }

    /// Ends ``beginHold(_:)``.
    func endHold(_ directory: InodeNumber) {
        self.state.withLock { state in
            state.update(directory) { $0.holdCount -= 1 }
            state.dropIfBlank(directory)
        }
    }
}

extension Namespace.State {
    /// What the budget is for, in bytes, about.
    var byteCount: Int { self.eviction.byteCount + self.overrides.count * 200 }

    /// Changes what is known of a directory; nothing if that is nothing.
    mutating func update(_ inode: InodeNumber, _ change: (inout Directory) -> Void) {
        guard let index = self.directories.index(forKey: inode) else { return }
        let before = self.directories.values[index].byteCount
        change(&self.directories.values[index])
        self.eviction.byteCount += self.directories.values[index].byteCount - before
    }

    /// Changes what is known of a directory, of which nothing need be known yet.
    mutating func make(_ inode: InodeNumber, _ change: (inout Directory) -> Void) {
        if self.directories[inode] == nil { self.set(inode, Directory(epoch: self.epoch)) }
        self.update(inode, change)
    }

    /// Takes something in place of what is known of a directory.
    mutating func set(_ inode: InodeNumber, _ directory: Directory?) {
        self.eviction.byteCount += (directory?.byteCount ?? 0) - (self.directories[inode]?.byteCount ?? 0)
        self.directories[inode] = directory
    }

    /// A directory's names are looked at.
    mutating func use(_ directory: InodeNumber) {
        self.eviction.useCount += 1
        self.eviction.lastUsed = directory
        self.directories[directory]?.lastUse = self.eviction.useCount
    }

    /// Forgets a directory of which nothing is known.
    mutating func dropIfBlank(_ inode: InodeNumber) {
        if let directory = self.directories[inode], directory.isBlank { self.set(inode, nil) }
    }

    /// Drops the names of the directories least recently used, while there are more than the budget allows.
    ///
    /// The work is in proportion to what came since it was last done.
    mutating func evict() {
        let budget = self.eviction.budget
        self.eviction.threshold = max(
            budget,
            min(self.eviction.threshold, self.byteCount + budget / 4)
        )
        guard self.byteCount > self.eviction.threshold else { return }
        var isRenewed = false
        while self.byteCount > budget {
            if let (inode, lastUse) = self.eviction.candidates.popLast() {
                if self.directories[inode]?.lastUse == lastUse, self.mayEvict(inode) { self.evict(inode) }
                continue
            }
            if isRenewed {
                // What is left is in use: that is looked at again when as much more has come.
                self.eviction.threshold = self.byteCount + budget / 4
                return
            }
            self.eviction.candidates = self.directories.map { ($0.key, $0.value.lastUse) }
                .sorted { $0.lastUse > $1.lastUse }
            isRenewed = true
        }
        self.eviction.threshold = budget
    }

    /// A directory is in use no more: if it is a large one, the next look for something to evict is worth while.
    mutating func mayEvictSoon(_ inode: InodeNumber) {
        guard let directory = self.directories[inode], directory.byteCount > self.eviction.budget / 4 else {
            return
        }
        self.eviction.threshold = self.eviction.budget
    }

    private func mayEvict(_ inode: InodeNumber) -> Bool {
        guard inode != self.eviction.lastUsed, let directory = self.directories[inode] else { return false }
        return directory.flightCount == 0 && directory.holdCount == 0
            && (self.nodes[inode]?.pinCount ?? 0) == 0
    }

    /// Drops a directory's names but those that the kernel or a handle knows, or of which something is known that no
    /// listing brings back.
    private mutating func evict(_ inode: InodeNumber) {
        guard var directory = self.directories[inode] else { return }
        if !self.overrides.isEmpty {
            // The store has them: what the kernel knows no more was saved when it forgot that.
            directory.forEach { if !self.isNeeded($0) { self.overrides[$0.inode] = nil } }
        }
        directory.shrink { self.isNeeded($0) }
        self.set(inode, directory.isBlank ? nil : directory)
        self.eviction.evictedCount += 1
    }

    private func isNeeded(_ entry: Entry) -> Bool {
        !entry.isPlain || self.nodes[entry.inode] != nil
            || entry.kind == .directory
                && (self.directories[entry.inode] != nil || self.stagingNames[entry.inode] != nil)
    }
}
