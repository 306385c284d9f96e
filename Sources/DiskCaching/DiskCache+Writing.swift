import Dispatch
import Primitives
import Synchronization
import SystemPackage

extension DiskCache {
    /// Those of a version's blocks that can be read: fresh, and in a segment that is there. If they are read now
    /// (`touching`), their segments are protected.
    func usable(_ blocks: [StoredBlock], touching: Bool = false) -> [StoredBlock] {
        if blocks.isEmpty { return blocks }
        let fresh = blocks.filter { self.isFresh($0.fetched) }
        let (usable, disk): ([StoredBlock], Disk?) = self.state.withLock { state in
            guard let disk = state.disk else { return ([], nil) }
            let usable = fresh.filter { state.table.contains($0.segment) }
            guard touching else { return (usable, nil) }
            var last: UInt32?
            for block in usable where block.segment != last {
                state.table.touch(block.segment, capacity: state.capacity)
                last = block.segment
            }
            // Not a transaction for each read; a crash forgets at most so many uses.
            guard state.table.changeCount >= 64 && !state.isSavingUses else { return (usable, nil) }
            state.isSavingUses = true
            return (usable, disk)
        }
        if let disk { self.writer.async { self.saveUses(disk) } }
        return usable
    }

    /// What waits to be written, in bytes, in buffers that may be nobody else's any more.
    public var queuedByteCount: Int { self.state.withLock { $0.queue.byteCount } }

    /// Has somebody told, on a thread of the cache's, each time that blocks can be stored again after one was turned
    /// away.
    public func whenRoom(_ act: @escaping @Sendable () -> Void) { self.roomObserver.withLock { $0 = act } }

    /// Has a block written some time later.
    ///
    /// - Returns: Whether there was room, or the block is not to be stored at all.
    func enqueue(_ index: UInt64, _ buffer: ByteBuffer, of file: DiskFile) -> Bool {
        let block = QueuedBlock(
            file: file,
            index: index,
            buffer: buffer,
            fetched: UInt32(clamping: self.environment.secondsSince1970())
        )
        let limit = self.options.queueByteLimit
        let (hasRoom, call): (Bool, WriteQueue.Call?) = self.state.withLock { state in
            guard state.disk != nil, state.isStoring, !state.drops.contains(file.path) else {
                return (true, nil)
            }
            guard state.queue.hasRoom(for: block.byteCount, limit: limit) else {
                state.statistics.turnedAway += 1
                state.hasTurnedAway = true
                return (false, nil)
            }
            return (true, file.enqueue(index, buffer) ? state.queue.append(block, limit: limit) : nil)
        }
        switch call {
        case .now: self.writer.async { self.drain() }
        case .soon:
            self.writer.asyncAfter(deadline: .now() + self.environment.linger.timeInterval) { self.drain() }
        case nil: break
        }
        return hasRoom
    }

    /// Waits until all that was stored is written and known.
    func flush() async {
        await self.onWriter {
            self.drain()
            self.commit()
        }
    }

    // MARK: On the writer's thread

    /// Takes away what a crash left, and makes the budget hold if it was larger before.
    func tidy(_ disk: Disk) {
        let (known, newest) = self.state.withLock { ($0.table.segments, $0.table.newest) }
        disk.segments.removeAll { known[$0] != nil }
        if let newest {
            do {
                let file = try disk.segments.resume(newest)
                // From a whole page on, however a crash left the file.
                let byteCount = try file.byteCount().alignedForBlock
                disk.tail.withLock { $0 = Disk.Tail(number: newest, file: file, byteCount: byteCount) }
            } catch {
                self.removeSegment(newest, disk)
            }
        }
        self.measure(disk)
        while self.state.withLock({ $0.table.count > $0.capacity }) && self.evict(disk) {}
    }

    /// Writes what waits.
    func drain() {
        let (batch, disk) = self.state.withLock { ($0.queue.take(), $0.disk) }
        if batch.isEmpty { return }
        // Neighbours together, so that reading them back is one call.
        let sorted = batch.sorted { left, right in
            let (first, second) = (ObjectIdentifier(left.file), ObjectIdentifier(right.file))
            return first == second ? left.index < right.index : first < second
        }
        // Piece by piece, so that there is soon room for others.
        for start in stride(from: 0, to: sorted.count, by: 64) {
            let piece = sorted[start..<min(start + 64, sorted.count)]
            if let disk { self.write(piece, disk) } else { self.giveUp(piece) }
            self.finish(piece)
        }
        guard let disk else { return }
        // A transaction costs as much as writing some blocks: one for many, soon after the last of them.
        let isEnough = disk.written.withLock { $0.count >= Self.maximumWrittenCount }
        if isEnough { return self.commit() }
        self.writer.asyncAfter(deadline: .now() + self.environment.linger.timeInterval) { self.commit() }
    }

    /// Takes blocks off the queue's figures, and tells who was turned away once half of it is free.
    private func finish(_ blocks: ArraySlice<QueuedBlock>) {
        let isRoom = self.state.withLock { state in
            state.queue.finish(blocks)
            guard state.hasTurnedAway, state.queue.byteCount <= self.options.queueByteLimit / 2 else {
                return false
            }
            state.hasTurnedAway = false
            return true
        }
        if isRoom { self.roomObserver.withLock { $0 }?() }
    }

    /// As many blocks as a crash may lose: 32 MiB.
    private static let maximumWrittenCount = 512

    private func write(_ batch: ArraySlice<QueuedBlock>, _ disk: Disk) {
        var rest = batch.filter { !$0.file.isDropped }[...]
        guard self.hasFreeSpace(for: rest.reduce(0) { $0 + $1.byteCount }, disk) else {
            return self.giveUp(rest)
        }
        while let first = rest.first {
            guard let tail = self.tail(withRoomFor: first.byteCount, disk) else { return self.giveUp(rest) }
            var end = tail.byteCount
            let part = rest.prefix { block in
                end += block.byteCount
                return end <= self.segmentByteCount
            }
            rest = rest.dropFirst(part.count)
            do {
                let places = try self.append(part, to: tail, disk)
                for (block, place) in zip(part, places) { block.file.didWrite(block.index, place) }
                disk.written.withLock { written in
                    written += zip(part, places).map { Disk.WrittenBlock(file: $0.file, place: $1) }
                }
            } catch {
                self.giveUp(part)
                self.writeFailed(error, disk)
            }
        }
    }

    /// Writes blocks at the end of a segment, in which there is room for them.
    private func append(
        _ blocks: ArraySlice<QueuedBlock>,
        to tail: Disk.Tail,
        _ disk: Disk
    ) throws(Errno) -> [StoredBlock] {
        var offset = tail.byteCount
        var stored: [StoredBlock] = []
        for block in blocks {
            stored.append(
                StoredBlock(
                    checksum: block.file.checksum(
                        of: block.buffer,
                        index: block.index,
                        fetched: block.fetched
                    ),
                    index: UInt32(block.index),
                    segment: tail.number,
                    offset: UInt32(offset),
                    fetched: block.fetched
                )
            )
            offset += block.byteCount
        }
        // The kernel takes 1,024 pieces of memory at once, and a block is two at most.
        var start = blocks.startIndex
        var position = tail.byteCount
        while start < blocks.endIndex {
            let part = blocks[start..<min(start + 512, blocks.endIndex)]
            try tail.file.write(part.map(\.buffer), at: position)
            position += part.reduce(0) { $0 + $1.byteCount }
            start = part.endIndex
        }
        disk.tail.withLock { $0?.byteCount = offset }
        return stored
    }

    /// Makes what was written known to later mounts. Called before whatever else changes the catalogue, so that nothing
    /// of it comes after it.
    func commit() {
        guard let disk = self.state.withLock({ $0.disk }) else { return }
        let all = disk.written.withLock { written in
            defer { written = [] }
            return written
        }
        let blocks = all.filter { !$0.file.isDropped }
        if blocks.isEmpty { return }
        var pieces: [Piece] = []
        for block in blocks {
            if let last = pieces.last, last.key == block.file.key, last.size == block.file.size,
                last.extent == UInt64(block.place.index) / DiskBlocks.perExtent,
                last.blocks[0].segment == block.place.segment
            {
                pieces[pieces.count - 1].blocks.append(block.place)
            } else {
                pieces.append(Piece(key: block.file.key, size: block.file.size, blocks: [block.place]))
            }
        }
        do {
            try self.saveUses(disk, with: pieces)
        } catch {
            for block in blocks { block.file.didCommit(block.place, isKnown: false) }
            self.state.withLock { $0.statistics.dropped += blocks.count }
            return self.writeFailed(error, disk)
        }
        for block in blocks { block.file.didCommit(block.place, isKnown: true) }
        self.state.withLock { $0.statistics.stored += blocks.count }
    }

    /// Writes down when segments were used last.
    func saveUses(_ disk: Disk) {
        do {
            try self.saveUses(disk, with: [])
        } catch {
            self.failed(
                "its catalogue cannot be written",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
        }
    }

    private func saveUses(_ disk: Disk, with pieces: [Piece]) throws {
        let changes = self.state.withLock { state in
            state.isSavingUses = false
            return state.table.takeChanges()
        }
        if changes.isEmpty && pieces.isEmpty { return }
        do {
            try disk.catalogue.insert(pieces, segments: changes)
        } catch {
            self.state.withLock { $0.table.restoreChanges(changes.keys) }
            throw error
        }
    }

    private func giveUp(_ blocks: ArraySlice<QueuedBlock>) {
        for block in blocks { block.file.didWrite(block.index, nil) }
        self.state.withLock { $0.statistics.dropped += blocks.count }
    }

    private func writeFailed(_ error: any Error, _ disk: Disk) {
        switch error {
        case Errno.noSpace, Errno.diskQuotaExceeded:
            self.failed("its disk is full", error)
            _ = self.evict(disk)
        case is Errno: self.failed("its disk cannot be written", error, then: .storeNothing)
        default:
            self.failed(
                "its catalogue cannot be written",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
        }
    }

    // MARK: Room

    /// The segment to write to.
    private func tail(withRoomFor byteCount: Int, _ disk: Disk) -> Disk.Tail? {
        if let tail = disk.tail.withLock({ $0 }), tail.byteCount + byteCount <= self.segmentByteCount {
            return tail
        }
        self.measure(disk)
        while self.state.withLock({ $0.table.count >= $0.capacity }) {
            guard self.evict(disk) else { return nil }
        }
        let number = self.state.withLock { $0.table.add() }
        do {
            let tail = Disk.Tail(number: number, file: try disk.segments.create(number), byteCount: 0)
            disk.tail.withLock { $0 = tail }
            return tail
        } catch {
            self.state.withLock { $0.table.remove(number) }
            disk.tail.withLock { $0 = nil }
            self.writeFailed(error, disk)
            return nil
        }
    }

    /// How many segments there may be, beside the catalogue and what it may grow by before the next look.
    private func measure(_ disk: Disk) {
        let catalogue = disk.directory.catalogueByteCount
        let reserve = min(4 << 20, self.options.budget / 8)
        let rest = self.options.budget - min(self.options.budget, catalogue + reserve)
        self.state.withLock { state in
            state.catalogueByteCount = catalogue
            state.capacity = Int(rest / UInt64(self.segmentByteCount))
        }
    }

    /// Whether so many bytes can be written above the floor, now or after some evictions.
    private func hasFreeSpace(for byteCount: Int, _ disk: Disk) -> Bool {
        // The catalogue's share: a line for each block of a page is the most.
        let needed = self.freeSpaceFloor + UInt64(byteCount) + UInt64(byteCount) / 16 + 256 << 10
        func isEnough() -> Bool? { self.environment.freeByteCount(disk.directory.path).map { $0 >= needed } }
        guard let isEnoughNow = isEnough() else {
            self.failed("its directory is gone", Errno.noSuchFileOrDirectory, then: .storeNothing)
            return false
        }
        if isEnoughNow { return true }
        for _ in 0...(byteCount / self.segmentByteCount + 1) {
            guard self.evict(disk) else { break }
            if isEnough() == true { return true }
        }
        self.failed("its disk has no room above the floor", Errno.noSpace)
        return false
    }

    /// Frees bytes of the disk for somebody who has something to keep there. It waits for the disk, at most a few
    /// seconds.
    ///
    /// - Parameter byteCount: How many; as much again is freed, for what comes next.
    /// - Returns: Whether anything was freed.
    @Sendable public func makeRoom(_ byteCount: Int) -> Bool {
        let wanted = UInt64(2 * byteCount) + (4 << 20)
        let outcome = Outcome()
        let group = DispatchGroup()
        self.writer.async(group: group) {
            guard let disk = self.state.withLock({ $0.disk }) else { return }
            while let free = self.environment.freeByteCount(disk.directory.path), free < wanted,
                self.evict(disk)
            {
                outcome.hasFreed.store(true, ordering: .relaxed)
            }
        }
        return group.wait(timeout: .now() + 5) == .success && outcome.hasFreed.load(ordering: .relaxed)
    }

    private final class Outcome: Sendable {
        let hasFreed = Atomic<Bool>(false)
    }

    /// Evicts a segment.
    ///
    /// - Returns: Whether there was one.
    private func evict(_ disk: Disk) -> Bool {
        guard let victim = self.state.withLock({ $0.table.victim }) else { return false }
        let blockCount = self.removeSegment(victim, disk)
        self.state.withLock { $0.statistics.evicted += blockCount }
        return true
    }

    /// Takes a segment away.
    ///
    /// - Returns: How many blocks it had.
    @discardableResult
    func removeSegment(_ number: UInt32, _ disk: Disk) -> Int {
        self.commit()
        // The file first: lines without a file are found out, a file without lines would stay until the next mount.
        disk.segments.remove(number)
        self.state.withLock { $0.table.remove(number) }
        disk.tail.withLock { if $0?.number == number { $0 = nil } }
        do {
            return try disk.catalogue.deleteSegment(number)
        } catch {
            self.failed(
                "its catalogue cannot be written",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
            return 0
        }
    }
}
