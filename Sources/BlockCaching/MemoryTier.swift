import DequeModule
import Primitives

/// Blocks in memory under one budget, in classes, so that neither one long scan nor what is fetched ahead pushes
/// out what is read again and again.
///
/// What goes first is what was read once, the oldest first, and of that first what the disk need not get from here any
/// more; then what was read again; last what was fetched ahead and not read yet, since that would be fetched twice.
struct MemoryTier {
    private enum Class: Int, CaseIterable {
        /// Fetched ahead, not read yet.
        case ahead
        /// Read, as a scan does.
        case once
        /// Of those, what would have gone if the disk did not wait for it.
        case held
        /// Read again after a while.
        case again
    }

    private struct Slot {
        let buffer: ByteBuffer
        var kind: Class
        /// The reader ahead of which it was fetched, as long as it is ahead; 0 if that is several or nobody in particular.
        var owner: UInt64
        /// Whether the disk has still to get it from here.
        var isHeld: Bool
        /// Tells the slot's own entry in its class's queue from older ones.
        var stamp: UInt64
        /// How many blocks had come in when it was put in its place.
        var since: UInt64
    }

    private struct Queue {
        var entries: Deque<(key: BlockKey, stamp: UInt64)> = []
        var count = 0
        var byteCount = 0
    }

    private var slots: [BlockKey: Slot] = [:]
    private var queues = [Queue](repeating: Queue(), count: Class.allCases.count)
    private var nextStamp: UInt64 = 0
    private var insertionCount: UInt64 = 0
    /// What the blocks take, in bytes.
    private(set) var byteCount = 0
    /// What they may take, in bytes; when it shrinks, what is too much goes at once.
    var budget: Int {
        didSet { self.shrink() }
    }

    init(budget: Int) {
        self.budget = budget
    }

    /// How many blocks there are.
    var count: Int { self.slots.count }

    /// What the blocks take that were fetched ahead and not read yet, in bytes.
    var aheadByteCount: Int { self.queues[Class.ahead.rawValue].byteCount }

    /// What the blocks take that were read again, in bytes.
    var againByteCount: Int { self.queues[Class.again.rawValue].byteCount }

    func contains(_ key: BlockKey) -> Bool { self.slots[key] != nil }

    /// A block, without its being read.
    func peek(_ key: BlockKey) -> ByteBuffer? { self.slots[key]?.buffer }

    /// Keeps a block rather than others that were read once, until ``release(_:)``.
    mutating func hold(_ key: BlockKey) { self.slots[key]?.isHeld = true }

    /// Ends ``hold(_:)``.
    mutating func release(_ key: BlockKey) {
        guard var slot = self.slots[key], slot.isHeld else { return }
        slot.isHeld = false
        self.slots[key] = slot
        if slot.kind == .held { self.move(key, slot, to: .once, first: true) }
    }

    /// A block for a reader.
    mutating func get(_ key: BlockKey) -> ByteBuffer? {
        guard let slot = self.slots[key] else { return nil }
        switch slot.kind {
        case .ahead: self.move(key, slot, to: .once)
        case .once, .held, .again:
            // A block that is read in pieces is read at once: again is when others have come meanwhile.
            let age = self.insertionCount - slot.since
            if age > UInt64(self.count / 16) { self.move(key, slot, to: .again) }
        }
        return slot.buffer
    }

    /// Takes a block in.
    ///
    /// - Parameters:
    ///   - key: Its key; a block that is here stays as it is.
    ///   - buffer: Its bytes.
    ///   - owner: The reader ahead of which it was fetched, 0 if that is several or nobody in particular; nothing if it
    ///     is read now.
    mutating func insert(_ key: BlockKey, _ buffer: ByteBuffer, aheadOf owner: UInt64?) {
        guard self.slots[key] == nil else { return }
        self.insertionCount += 1
        self.byteCount += buffer.footprint
        self.enqueue(key, buffer, owner == nil ? .once : .ahead, owner: owner ?? 0, isHeld: false)
        self.shrink(sparing: key)
    }

    private mutating func shrink(sparing newest: BlockKey? = nil) {
        while self.byteCount > self.budget, self.evictOne(sparing: newest) {}
    }

    /// Notes that a block is wanted ahead of a reader, where it is here: whether it is.
    mutating func share(_ key: BlockKey, with reader: UInt64) -> Bool {
        guard let slot = self.slots[key] else { return false }
        if slot.kind == .ahead, slot.owner != reader { self.slots[key]?.owner = 0 }
        return true
    }

    /// Lets blocks that were fetched ahead of one reader alone go before any other: nobody is going to read them.
    mutating func giveUpAhead(of reader: UInt64) {
        for (key, stamp) in self.queues[Class.ahead.rawValue].entries {
            guard let slot = self.slots[key], slot.stamp == stamp, slot.owner == reader else { continue }
            self.move(key, slot, to: .once, first: true)
        }
    }

    /// Lets blocks that were fetched ahead long ago go as if they had been read, the oldest first.
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes of them are to stay.
    ///   - age: How many blocks must have come in since, before one is old.
    mutating func expireAhead(downTo byteCount: Int, olderThan age: UInt64) {
        while self.aheadByteCount > byteCount, let (key, slot) = self.oldest(.ahead),
            self.insertionCount - slot.since > age
        {
            self.move(key, slot, to: .once)
        }
    }

    private mutating func enqueue(
        _ key: BlockKey,
        _ buffer: ByteBuffer,
        _ kind: Class,
        owner: UInt64 = 0,
        isHeld: Bool,
        first: Bool = false
    ) {
        self.nextStamp += 1
        self.slots[key] = Slot(
            buffer: buffer,
            kind: kind,
            owner: owner,
            isHeld: isHeld,
            stamp: self.nextStamp,
            since: self.insertionCount
        )
        let entry = (key: key, stamp: self.nextStamp)
        if first {
            self.queues[kind.rawValue].entries.prepend(entry)
        } else {
            self.queues[kind.rawValue].entries.append(entry)
        }
        self.queues[kind.rawValue].count += 1
        self.queues[kind.rawValue].byteCount += buffer.footprint
        self.dropStaleEntries(kind)
    }

    private mutating func move(_ key: BlockKey, _ slot: Slot, to kind: Class, first: Bool = false) {
        self.leave(slot)
        self.enqueue(key, slot.buffer, kind, isHeld: slot.isHeld, first: first)
        // What is read again is protected up to half of the budget, so that new blocks have a chance.
        while kind == .again, self.queues[Class.again.rawValue].byteCount > self.budget / 2,
            let (key, slot) = self.oldest(.again)
        {
            self.move(key, slot, to: .once)
        }
    }

    /// Takes a slot out of its class's figures; its queue's entry goes stale.
    private mutating func leave(_ slot: Slot) {
        self.queues[slot.kind.rawValue].count -= 1
        self.queues[slot.kind.rawValue].byteCount -= slot.buffer.footprint
    }

    private mutating func evictOne(sparing newest: BlockKey?) -> Bool {
        while let (key, slot) = self.oldest(.once), slot.isHeld { self.move(key, slot, to: .held) }
        for kind in [Class.once, .held, .again, .ahead] {
            guard let (key, slot) = self.oldest(kind), key != newest else { continue }
            self.leave(slot)
            self.slots[key] = nil
            self.byteCount -= slot.buffer.footprint
            return true
        }
        return false
    }

    /// The first of a class, stale entries before it dropped.
    private mutating func oldest(_ kind: Class) -> (BlockKey, Slot)? {
        while let (key, stamp) = self.queues[kind.rawValue].entries.first {
            if let slot = self.slots[key], slot.stamp == stamp { return (key, slot) }
            self.queues[kind.rawValue].entries.removeFirst()
        }
        return nil
    }

    private mutating func dropStaleEntries(_ kind: Class) {
        guard self.queues[kind.rawValue].entries.count > 2 * self.queues[kind.rawValue].count + 64 else {
            return
        }
        let slots = self.slots
        self.queues[kind.rawValue].entries.removeAll { slots[$0.key]?.stamp != $0.stamp }
    }
}
