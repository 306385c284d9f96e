import Primitives
import WireFormat

// The kernel forgets names only when the machine is short of memory; until then each takes memory here as well. So
// beyond a budget it is made to forget what was not used for long, by whoever talks to it, in small portions.

extension Namespace {
    /// How many names are looked at with the lock held, and handed out at most.
    private static let portion = 512

    /// Has somebody told when the kernel is to forget names: then ``takeForgettable(sparingUsed:)`` is due.
    ///
    /// - Parameter body: Called with a lock held, and not again before that has returned nothing.
    public func whenCrowded(_ body: @escaping @Sendable () -> Void) {
        self.state.withLock { $0.crowding.whenCrowded = body }
    }

    /// Numbers that the kernel may forget: nothing has them open or waits for them, and none is on the path of another.
    ///
    /// Those of the directories least recently used come first. What is handed out stays until the kernel has forgotten it.
    ///
    /// - Parameter sparesUsed: Whether to leave out what the kernel may be using without our knowing, as it would forget that,
    ///   too: directories, which programs may be in, and what is in the directory used last.
    /// - Returns: Some numbers, or none yet; nothing once enough were handed out, or all that there are.
    public func takeForgettable(sparingUsed sparesUsed: Bool) -> [InodeNumber]? {
        self.state.withLock { $0.takeForgettable(Self.portion, sparesUsed) }
    }
}

extension Namespace.State {
    fileprivate mutating func takeForgettable(_ portion: Int, _ sparesUsed: Bool) -> [InodeNumber]? {
        guard let due = self.crowding.due else { return nil }
        guard due > 0, let candidate = self.forgettingCandidate() else {
            self.crowding.end()
            return nil
        }
        guard let names = self.directories[candidate], !sparesUsed || candidate != self.eviction.lastUsed
        else {
            self.crowding.endCandidate()
            return []
        }
        let start = self.crowding.place
        let end = min(start + portion, names.nameCount)
        var inodes: [InodeNumber] = []
        for index in start..<max(start, end) {
            if let entry = names.tableEntry(at: index), self.mayBeForgotten(entry, sparesUsed) {
                inodes.append(entry.inode)
            }
        }
        self.crowding.place = end
        if end >= names.nameCount {
            // Beside the table are few.
            inodes += names.others.values.filter { self.mayBeForgotten($0, sparesUsed) }.map(\.inode)
            self.crowding.endCandidate()
        }
        self.crowding.handOut(inodes.reduce(0) { $0 + (self.nodes[$1]?.byteCount ?? 0) })
        return inodes
    }

    private mutating func forgettingCandidate() -> InodeNumber? {
        let (directories, nodes) = (self.directories, self.nodes)
        return self.crowding.candidate(lastUse: { directories[$0]?.lastUse }) {
            directories.compactMap { inode, directory in
                (nodes[inode]?.childCount ?? 0) > 0 ? (inode, directory.lastUse) : nil
            }
        }
    }

    private func mayBeForgotten(_ entry: Entry, _ sparesUsed: Bool) -> Bool {
        guard entry.isPlain, let node = self.nodes[entry.inode], node.lookupCount > 0, node.pinCount == 0,
            node.childCount == 0
        else { return false }
        guard node.kind == .directory else { return true }
        return !sparesUsed && self.directories[entry.inode]?.flightCount ?? 0 == 0
    }
}
