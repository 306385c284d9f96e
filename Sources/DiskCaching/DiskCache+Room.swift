import Dispatch
import Synchronization
import SystemPackage

extension DiskCache {
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
        self.shrink(disk)
    }

    /// Makes the budget hold, a few segments at once: whoever changes a file waits for the writer.
    private func shrink(_ disk: Disk) {
        for _ in 0..<64 {
            guard self.state.withLock({ $0.table.count > $0.capacity }), self.evict(disk) else { return }
        }
        self.writer.async { self.shrink(disk) }
    }

    /// The segment to write to.
    func tail(withRoomFor byteCount: Int, _ disk: Disk) -> Disk.Tail? {
        if let tail = disk.tail.withLock({ $0 }), tail.byteCount + byteCount <= self.segmentByteCount {
            return tail
        }
        self.measure(disk)
        // A few: where very many are to go, `shrink` is at it, and others wait for this thread.
        for _ in 0..<8 where self.state.withLock({ $0.table.count >= $0.capacity }) {
            guard self.evict(disk) else { return nil }
        }
        guard self.state.withLock({ $0.table.count < $0.capacity }) else { return nil }
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
    func hasFreeSpace(for byteCount: Int, _ disk: Disk) -> Bool {
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
            // Where the disk has that much, it is a quota that is used up: what goes is counted.
            let isQuota = self.environment.freeByteCount(disk.directory.path).map { $0 >= wanted } ?? false
            var freed: UInt64 = 0
            while let free = self.environment.freeByteCount(disk.directory.path),
                isQuota ? freed < wanted : free < wanted, self.evict(disk)
            {
                freed += UInt64(self.segmentByteCount)
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
    func evict(_ disk: Disk) -> Bool {
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
