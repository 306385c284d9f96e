import WireFormat

/// What became, since the mount began, of bytes that could not go where they were written.
struct Incidents: Sendable {
    /// Bytes that were uploaded beside what others put in their place.
    struct Conflict: Sendable, Hashable {
        /// Where they were written.
        let path: RemotePath
        /// Where they went.
        let copy: RemotePath
    }

    private(set) var conflicts: [Conflict] = []
    private(set) var conflictCount = 0
    /// How many files were put where a person finds them.
    private(set) var keptCount = 0
    /// Those of them that nobody was told of yet.
    private var kept: [FileSystem.UnsentFile] = []

    /// The conflicts that are remembered one by one.
    private static let conflictLimit = 100

    mutating func didConflict(_ conflict: Conflict) {
        self.conflictCount += 1
        self.conflicts.append(conflict)
        if self.conflicts.count > Self.conflictLimit { self.conflicts.removeFirst() }
    }

    mutating func didKeep(_ file: FileSystem.UnsentFile) {
        self.keptCount += 1
        self.kept.append(file)
    }

    /// The files that were kept since this was last asked.
    mutating func takeKept() -> [FileSystem.UnsentFile] {
        defer { self.kept = [] }
        return self.kept
    }
}
