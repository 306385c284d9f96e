// What is fetched before anybody waits for it, and what becomes of it when its reader ends.

extension BlockCache {
    /// Makes what reads for one handle.
    public func makeReader() -> BlockReader {
        let id = self.state.withLock { state in
            state.nextReader += 1
            return state.nextReader
        }
        return BlockReader(self, id: id)
    }

    /// Fetches a range that nobody waits for yet; what is here or under way is left out.
    public func readAhead(_ source: BlockSource, _ range: Range<UInt64>) {
        self.readAhead(source, range, owner: 0)
    }

    /// How much more may be fetched ahead of all readers, in bytes.
    public var readAheadRoom: Int { self.state.withLock { self.room(&$0) } }

    func readAhead(_ source: BlockSource, _ range: Range<UInt64>, owner: UInt64) {
        let blocks = BlockGeometry.blocks(range.clamped(to: 0..<source.size))
        let fetches = self.state.withLock { state in
            let missing = blocks.filter { !state.share(BlockKey(source.content, $0), with: owner) }
            return Self.fetches(of: missing, source, owner: owner, &state)
        }
        for fetch in fetches { self.start(fetch, source) }
    }

    /// What a reader that reads in some order may have ahead of it now.
    func allowance(for reader: UInt64) -> ReadAheadAllowance {
        self.state.withLock { state in
            state.governor.noteRead(reader)
            let (window, first) = state.governor.windows()
            return ReadAheadAllowance(window: window, first: first, room: UInt64(self.room(&state)))
        }
    }

    /// A reader has ended: what is on its way for it alone is given up, and what it alone left unread goes first.
    func endReader(_ reader: UInt64, hasReadAhead: Bool) {
        let abandoned: [BlockFetch] = self.state.withLock { state in
            state.governor.forget(reader)
            guard hasReadAhead else { return [] }
            state.memory.giveUpAhead(of: reader)
            var owned: [ObjectIdentifier: BlockFetch] = [:]
            for loading in state.loading.values where loading.owner == reader {
                owned[ObjectIdentifier(loading.fetch)] = loading.fetch
            }
            let abandoned = owned.values.filter { Self.abandon($0, of: reader, &state) }
            // The others go on for those who wait, and no longer than they do.
            for (key, loading) in state.loading where loading.owner == reader {
                state.loading[key]?.owner = nil
                guard loading.isAhead else { continue }
                state.loading[key]?.isAhead = false
                state.loadingAheadByteCount -= loading.fetch.byteCount(ofBlock: key.index)
            }
            return abandoned
        }
        for fetch in abandoned { fetch.cancel() }
    }

    private func room(_ state: inout State) -> Int {
        let budget = Int(state.governor.budget)
        if state.aheadByteCount > budget / 8 * 7 {
            // Of readers that stand still: what they left would keep everybody else from reading ahead for ever.
            let age = 2 * state.memory.budget / Int(BlockGeometry.blockByteCount)
            state.memory.expireAhead(downTo: budget / 2, olderThan: UInt64(age))
        }
        return max(0, (self.roomBesideHeld(state) ?? budget) - state.aheadByteCount)
    }
}
