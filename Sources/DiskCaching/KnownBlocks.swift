import Primitives

/// What is known in memory of a version's blocks.
struct KnownBlocks: Sendable {
    /// Whether the version has ended.
    var isDropped = false
    /// Whether the catalogue was looked at for other versions.
    var isAlone = false
    /// Waiting to be written.
    var queued: [UInt64: Waiting] = [:]
    /// Written, and not in the catalogue yet.
    var uncommitted: [UInt64: StoredBlock] = [:]
    /// How many blocks were written or came into the catalogue, so that a load sees that one came between.
    var writeCount = 0
    /// What the catalogue has, of some extents, each in the order of the blocks' indices.
    private var extents: [UInt64: [StoredBlock]] = [:]
    /// Those extents in the order in which they were loaded.
    private var loaded: [UInt64] = []
    /// Extents that were known, and are not any more.
    private var unloaded: Set<UInt64> = []
    /// Whether the catalogue had nothing of this version when it was first looked at: then what was never known here is not
    /// there.
    private var hadNothing = false

    /// A block that waits to be written.
    struct Waiting: Sendable {
        let buffer: ByteBuffer
        /// In seconds since 1970.
        let fetched: UInt32
    }

    /// 512 MiB of a file; 200 KiB of memory at most.
    static let maximumExtentCount = 64

    /// What a look says.
    enum Answer {
        /// Some of the extents are not loaded.
        case unknown
        case known(queued: [(index: UInt64, block: Waiting)], stored: [StoredBlock])
    }

    /// Looks for blocks.
    func find(_ blocks: Range<UInt64>) -> Answer {
        if self.isDropped || blocks.isEmpty { return .known(queued: [], stored: []) }
        var stored: [StoredBlock] = []
        for extent in DiskBlocks.extents(of: blocks) {
            guard let known = self.extents[extent] else {
                if self.isLoaded(extent) { continue }
                return .unknown
            }
            stored += known.lazy.filter { block in
                blocks.contains(UInt64(block.index))
                    && (self.queued.isEmpty || self.queued[UInt64(block.index)] == nil)
            }
        }
        let queued =
            self.queued.isEmpty ? [] : blocks.compactMap { index in self.queued[index].map { (index, $0) } }
        return .known(queued: queued, stored: stored)
    }

    /// When a block was fetched that waits to be written, or where it is, as far as that is known.
    func find(_ index: UInt64) -> (queued: UInt32?, stored: StoredBlock?) {
        if let waiting = self.queued[index] { return (waiting.fetched, nil) }
        let known = self.extents[index / DiskBlocks.perExtent]
        // What is new is mostly beyond the end of what is known.
        guard let known, let last = known.last, last.index >= index else { return (nil, nil) }
        return (nil, known.last { $0.index == index })
    }

    /// Whether an extent need not be loaded.
    func isLoaded(_ extent: UInt64) -> Bool {
        self.isDropped || self.extents[extent] != nil
            || (self.hadNothing && !self.unloaded.contains(extent))
    }

    /// Notes that the catalogue has nothing of this version, at the first look at it.
    mutating func loadNothing() {
        guard !self.isDropped, self.loaded.isEmpty else { return }
        self.hadNothing = true
        for block in self.uncommitted.values { self.insert(block) }
    }

    /// Notes what the catalogue has of an extent, in the order in which it was stored.
    mutating func load(_ blocks: [StoredBlock], of extent: UInt64) {
        guard !self.isLoaded(extent) else { return }
        self.add(extent)
        for block in blocks { self.insert(block) }
        let indices = extent * DiskBlocks.perExtent..<(extent + 1) * DiskBlocks.perExtent
        for block in self.uncommitted.values where indices.contains(UInt64(block.index)) {
            self.insert(block)
        }
    }

    private mutating func add(_ extent: UInt64) {
        if self.loaded.count >= Self.maximumExtentCount {
            let oldest = self.loaded.removeFirst()
            self.extents[oldest] = nil
            if self.hadNothing { self.unloaded.insert(oldest) }
        }
        self.loaded.append(extent)
        self.unloaded.remove(extent)
        self.extents[extent] = []
    }

    /// Notes a block that was stored, in place of an older one, if its extent is loaded.
    mutating func insert(_ block: StoredBlock) {
        let extent = UInt64(block.index) / DiskBlocks.perExtent
        if self.extents[extent] == nil && self.isLoaded(extent) { self.add(extent) }
        guard var known = self.extents.removeValue(forKey: extent) else { return }
        // The common case is the end: files are mostly read from their start.
        let position = known.lastIndex { $0.index <= block.index }
        if let position, known[position].index == block.index {
            known[position] = block
        } else {
            known.insert(block, at: position.map { $0 + 1 } ?? 0)
        }
        self.extents[extent] = known
    }

    /// Forgets blocks that turned out not to be there, unless they were stored anew meanwhile.
    mutating func remove(_ blocks: some Sequence<StoredBlock>) {
        for block in blocks {
            self.extents[UInt64(block.index) / DiskBlocks.perExtent]?.removeAll { $0 == block }
        }
    }
}

extension [StoredBlock] {
    /// Parts of it, all in order, in each of which the blocks lie one after the other on the disk.
    func runs() -> [ArraySlice<StoredBlock>] {
        var runs: [ArraySlice<StoredBlock>] = []
        var start = 0
        for position in self.indices.dropFirst() {
            let last = self[position - 1]
            let block = self[position]
            // Only a file's last block is shorter, and nothing follows that.
            let isNext =
                block.segment == last.segment && block.index == last.index + 1
                && UInt64(block.offset) == UInt64(last.offset) + DiskBlocks.byteCount
            if !isNext {
                runs.append(self[start..<position])
                start = position
            }
        }
        if start < self.count { runs.append(self[start...]) }
        return runs
    }
}
