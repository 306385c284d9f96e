/// What blocks in memory may take beside what others take of the same budget.
extension BlockCache {
    /// What may be ahead of all readers: what was read keeps an eighth in any case.
    static func aheadBudget(_ memoryBudget: Int) -> UInt64 { UInt64(memoryBudget) / 8 * 7 }

    /// What blocks may take now, in bytes.
    var currentBudget: Int {
        let used = self.usedByOthers(self.blockByteCount.load(ordering: .relaxed))
        return max(self.memoryBudget / 2, self.memoryBudget - used)
    }

    /// Lets blocks go where others have taken so much by now that there are too many. While blocks come, that is seen to
    /// without.
    public func makeRoomForOthers() {
        let budget = self.currentBudget
        self.state.withLock { state in
            state.keep(to: budget)
            self.blockByteCount.store(state.memory.byteCount, ordering: .relaxed)
        }
    }
}

extension BlockCache.State {
    /// Has blocks take no more than a budget in bytes from now on.
    mutating func keep(to budget: Int) {
        self.memory.budget = budget
        self.governor.budget = BlockCache.aheadBudget(budget)
    }
}
