import Primitives

/// What bounds the memory of what the kernel knows by number, and which of that it is made to forget next.
struct Crowding {
    /// From how many bytes on the kernel is made to forget.
    let budget: Int
    /// How many bytes nodes take, about.
    private(set) var byteCount = 0
    /// Told once that the kernel is to forget; with a lock held.
    var whenCrowded: (@Sendable () -> Void)?
    /// Above the budget when not enough could go: then that is looked at again when some more has come.
    private var threshold: Int
    /// How many bytes are still to be handed out; nothing while nobody asks for them.
    private(set) var due: Int?
    /// Directories with names that may go, the least recently used last, as they were used then.
    private var candidates: [(inode: InodeNumber, lastUse: UInt64)] = []
    /// Whether the candidates are of this round.
    private var isRenewed = false
    /// Where in the last candidate's names to go on.
    var place = 0

    init(budget: Int) {
        self.budget = budget
        self.threshold = budget
    }

    /// A node takes memory.
    mutating func add(_ byteCount: Int) {
        self.byteCount += byteCount
        self.due? += byteCount
        guard self.byteCount > self.threshold, self.due == nil, let whenCrowded else { return }
        // Some more than must be, so that it is not all to be done again at once.
        self.due = self.byteCount - self.budget / 4 * 3
        self.isRenewed = false
        whenCrowded()
    }

    /// A node takes memory no more.
    mutating func remove(_ byteCount: Int) {
        self.byteCount -= byteCount
        self.threshold = min(self.threshold, self.nextThreshold)
    }

    /// The kernel is to forget what takes so many bytes: whether it does, its own answer shows.
    mutating func handOut(_ byteCount: Int) { self.due? -= byteCount }

    /// What could go is handed out.
    mutating func end() {
        self.due = nil
        self.threshold = self.nextThreshold
    }

    private var nextThreshold: Int { max(self.budget, self.byteCount + self.budget / 8) }

    /// The directory whose names to hand out.
    ///
    /// - Parameters:
    ///   - lastUse: When a directory was last used, if anything is known of it.
    ///   - renewed: All directories with names that may go.
    /// - Returns: Nothing if all were looked at in this round.
    mutating func candidate(
        lastUse: (InodeNumber) -> UInt64?,
        renewed: () -> [(inode: InodeNumber, lastUse: UInt64)]
    ) -> InodeNumber? {
        while true {
            while let candidate = self.candidates.last {
                // Of an earlier round, it may have been used since: then others come first.
                if self.isRenewed || self.place > 0 || lastUse(candidate.inode) == candidate.lastUse {
                    return candidate.inode
                }
                self.endCandidate()
            }
            guard !self.isRenewed else { return nil }
            self.candidates = renewed().sorted { $0.lastUse > $1.lastUse }
            self.isRenewed = true
        }
    }

    /// The candidate's names were all looked at.
    mutating func endCandidate() {
        self.candidates.removeLast()
        self.place = 0
    }
}
