import Dispatch
import Primitives
import Synchronization
import SystemPackage

extension DiskCache {
    /// Whether a block fetched at a time still holds. A clock that was set back says nothing of an age.
    func isFresh(_ fetched: UInt32) -> Bool {
        guard let limit = self.options.blockTTL else { return true }
        let age = self.environment.secondsSince1970() - Int64(fetched)
        // Up to a second older than whole seconds say.
        return age >= 0 && Duration.seconds(age + 1) <= limit
    }

    /// Whether blocks are stored: not if none of them would hold.
    var isStoring: Bool {
        if let limit = self.options.blockTTL, limit < .seconds(1) { return false }
        return self.state.withLock { $0.disk != nil && $0.isStoring }
    }

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

    /// Has somebody told, on a thread of the cache's, each time that blocks can be stored again after one was turned
    /// away.
    public func whenRoom(_ act: @escaping @Sendable () -> Void) { self.roomObserver.withLock { $0 = act } }

    /// How fast the disk took blocks in the last moments, in bytes a second: without end if that is not known, and nothing
    /// while it seems to take none.
    public var bytesPerSecond: Double { self.pace.bytesPerSecond() }

    /// Has a block written some time later.
    ///
    /// - Returns: Whether there was room, or the block is not to be stored at all.
    func enqueue(_ block: QueuedBlock) -> Bool {
        let limit = self.options.queueByteLimit
        let (hasRoom, call): (Bool, WriteQueue.Call?) = self.state.withLock { state in
            guard state.disk != nil, state.isStoring, !state.drops.contains(block.file.path) else {
                return (true, nil)
            }
            guard state.queue.hasRoom(for: block.byteCount, limit: limit) else {
                state.statistics.turnedAway += 1
                state.hasTurnedAway = true
                return (false, nil)
            }
            let isNew = block.file.enqueue(block.seal, block.buffer)
            return (true, isNew ? state.queue.append(block, limit: limit) : nil)
        }
        if call != nil { self.pace.expect() }
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

    /// Writes what waits.
    func drain() {
        let (batch, disk) = self.state.withLock { ($0.queue.take(), $0.disk) }
        if batch.isEmpty { return }
        self.pace.begin()
        let sorted = Self.inOrderOfFiles(batch)
        // Piece by piece, so that there is soon room for others.
        for start in stride(from: 0, to: sorted.count, by: 64) {
            let piece = sorted[start..<min(start + 64, sorted.count)]
            if let disk { self.write(piece, disk) } else { self.giveUp(piece) }
            self.finish(piece)
        }
        guard let disk else { return }
        // A transaction costs as much as writing some blocks: one for many, soon after the first of them.
        let (isEnough, isDue): (Bool, Bool) = disk.written.withLock { written in
            if written.count >= Self.maximumWrittenCount { return (true, true) }
            defer { written.isCommitDue = true }
            return (false, written.isCommitDue)
        }
        if isEnough {
            self.commit()
        } else if !isDue {
            self.writer.asyncAfter(deadline: .now() + self.environment.linger.timeInterval) { self.commit() }
        }
    }

    /// Puts neighbours together, so that reading them back is one call.
    private static func inOrderOfFiles(_ batch: [QueuedBlock]) -> [QueuedBlock] {
        // Not the blocks themselves: each move of one counts its references.
        let keys = batch.enumerated().map { position, block in
            let file = UInt(bitPattern: ObjectIdentifier(block.file))
            return (file: file, index: block.seal.index, position: position)
        }
        return keys.sorted { ($0.file, $0.index) < ($1.file, $1.index) }.map { batch[$0.position] }
    }

    /// Takes blocks off the queue's figures, and tells who was turned away once half of it is free.
    private func finish(_ blocks: ArraySlice<QueuedBlock>) {
        let byteCount = blocks.reduce(0) { $0 + $1.byteCount }
        self.pace.add(byteCount)
        let isRoom = self.state.withLock { state in
            state.queue.finish(byteCount)
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
                try self.append(part, to: tail, disk)
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
    ) throws(Errno) {
        // The kernel takes 1,024 pieces of memory at once, and a block is two at most.
        var start = blocks.startIndex
        var end = tail.byteCount
        while start < blocks.endIndex {
            let part = blocks[start..<min(start + 512, blocks.endIndex)]
            try tail.file.write(part.map(\.buffer), at: end)
            end += part.reduce(0) { $0 + $1.byteCount }
            start = part.endIndex
        }
        disk.tail.withLock { $0?.byteCount = end }
        var offset = tail.byteCount
        let stored = blocks.map { block in
            defer { offset += block.byteCount }
            return StoredBlock(block.seal, segment: tail.number, offset: UInt32(offset))
        }
        // Each file's together: it is locked once.
        start = blocks.startIndex
        while start < blocks.endIndex {
            let file = blocks[start].file
            let end = blocks[start...].firstIndex { $0.file !== file } ?? blocks.endIndex
            let run = stored[start - blocks.startIndex..<end - blocks.startIndex]
            file.didWrite(run)
            disk.written.withLock { written in
                written.runs.append((file, run))
                written.count += run.count
            }
            start = end
        }
    }

    private func giveUp(_ blocks: ArraySlice<QueuedBlock>) {
        for block in blocks { block.file.didNotWrite(block.seal.index) }
        self.state.withLock { $0.statistics.dropped += blocks.count }
    }
}
