import DequeModule
import Primitives

/// Blocks in memory under one budget; when it is full the ones go that were not read since they were last looked at
/// (second chance), so that one long scan does not push out what is read again and again.
struct MemoryTier {
    private struct Slot {
        let buffer: ByteBuffer
        var wasRead: Bool
    }

    private var slots: [BlockKey: Slot] = [:]
    private var queue: Deque<BlockKey> = []
    /// What the blocks take, in bytes.
    private(set) var byteCount = 0
    /// What they may take, in bytes.
    let budget: Int

    init(budget: Int) {
        self.budget = budget
    }

    /// How many blocks there are.
    var count: Int { self.slots.count }

    func contains(_ key: BlockKey) -> Bool { self.slots[key] != nil }

    mutating func get(_ key: BlockKey) -> ByteBuffer? {
        guard let slot = self.slots[key] else { return nil }
        if !slot.wasRead { self.slots[key]?.wasRead = true }
        return slot.buffer
    }

    mutating func insert(_ key: BlockKey, _ buffer: ByteBuffer) {
        guard self.slots[key] == nil else { return }
        self.slots[key] = Slot(buffer: buffer, wasRead: false)
        self.queue.append(key)
        self.byteCount += buffer.count
        while self.byteCount > self.budget, self.queue.count > 1 { self.evictOne() }
    }

    private mutating func evictOne() {
        while let key = self.queue.popFirst() {
            guard let slot = self.slots[key] else { continue }
            if slot.wasRead {
                self.slots[key]?.wasRead = false
                self.queue.append(key)
            } else {
                self.slots[key] = nil
                self.byteCount -= slot.buffer.count
                return
            }
        }
    }
}
