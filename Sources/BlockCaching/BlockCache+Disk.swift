import DequeModule
import DiskCaching
import Primitives
import RemoteAPI
import Synchronization
import WireFormat

// What blocks on the local disk spare the service.

/// The disk's side of the versions that are read.
final class DiskVersions: Sendable {
    private let disk: DiskCache
    private let files = Mutex<[ContentID: DiskFile]>([:])
    /// Those that came while too much waited for the disk, in order. It takes them later from memory, as far as they are
    /// still there: a burst that is faster than the disk is not lost to later mounts, and takes no memory of its own.
    private let late = Mutex<Deque<Late>>([])
    private let lateByteCount = Atomic<Int>(0)

    private struct Late {
        let file: DiskFile
        let key: BlockKey
        let seal: BlockSeal
        let byteCount: Int
    }

    /// More are forgotten, and found again when they are asked for.
    private static let maximumCount = 128

    init(_ disk: DiskCache) {
        self.disk = disk
    }

    /// Has a block stored.
    ///
    /// - Parameters:
    ///   - key: Its key in memory.
    ///   - buffer: Its bytes.
    ///   - file: Its version.
    ///   - hold: Called if memory has to keep it for a while.
    func store(_ key: BlockKey, _ buffer: ByteBuffer, of file: DiskFile, orHold hold: () -> Void) {
        // Here, where the processor still has the bytes.
        guard let seal = file.seal(key.index, buffer) else { return }
        self.late.withLock { late in
            if late.isEmpty && file.store(seal, buffer) { return }
            late.append(Late(file: file, key: key, seal: seal, byteCount: buffer.count))
            self.lateByteCount.add(buffer.count, ordering: .relaxed)
            hold()
            if late.count > Self.maximumLateCount { self.removeFirst(&late) }
        }
    }

    /// 1 GiB of blocks: more than memory has.
    private static let maximumLateCount = 16 << 10

    private func removeFirst(_ late: inout Deque<Late>) {
        self.lateByteCount.subtract(late.removeFirst().byteCount, ordering: .relaxed)
    }

    /// What memory has to keep until the disk has taken it, in bytes.
    ///
    /// - Parameter rate: How many bytes come from the service in a second.
    /// - Returns: Nothing where the disk is less than half as fast: then waiting for it would cost a reader more than
    ///   what it misses costs the next one, who asks the service again.
    func heldByteCount(whileBringing rate: Double) -> Int {
        let held = self.lateByteCount.load(ordering: .relaxed)
        return held > 0 && 2 * self.disk.bytesPerSecond >= rate ? held : 0
    }

    /// Has those stored that there is room for now.
    ///
    /// - Parameters:
    ///   - memory: Gives a block that is still in memory.
    ///   - release: Called for each that need not be kept in memory any more.
    func storeLate(from memory: (BlockKey) -> ByteBuffer?, release: (BlockKey) -> Void) {
        self.late.withLock { late in
            while let next = late.first {
                if let buffer = memory(next.key) {
                    guard next.file.store(next.seal, buffer) else { return }
                    release(next.key)
                }
                self.removeFirst(&late)
            }
        }
    }

    /// Whether there are blocks of a file, of whichever version.
    func holds(_ path: RemotePath) async -> Bool { await self.disk.holds(path) }

    /// A version's blocks on the disk; nothing if it has no path any more.
    func file(_ source: BlockSource) -> DiskFile? {
        guard let path = source.path() else { return nil }
        return self.files.withLock { files in
            // After a rename, or a change that was tried and failed, it is another one.
            if let file = files[source.content], file.path == path, !file.isDropped { return file }
            if files.count >= Self.maximumCount { files.removeAll(keepingCapacity: true) }
            let file = self.disk.file(path, size: source.size)
            files[source.content] = file
            return file
        }
    }
}

extension BlockCache {
    /// Has a block stored that came from the service.
    func storeOnDisk(_ key: BlockKey, _ buffer: ByteBuffer, of file: DiskFile) {
        self.disk?.store(key, buffer, of: file) { self.state.withLock { $0.memory.hold(key) } }
    }

    /// Has those stored that there is room for now.
    func storeLateOnDisk() {
        self.disk?.storeLate(
            from: { key in self.state.withLock { $0.memory.peek(key) } },
            release: { key in self.state.withLock { $0.memory.release(key) } }
        )
    }

    /// What may still come into memory before it would push out what the disk has not taken, in bytes.
    ///
    /// - Returns: Nothing where it need not wait for the disk.
    func roomBesideHeld(_ state: borrowing State) -> Int? {
        let held = self.disk?.heldByteCount(whileBringing: state.governor.meter.bytesPerSecond) ?? 0
        return held == 0 ? nil : Int(state.governor.budget) - state.memory.againByteCount - held
    }

    /// Waits until memory has room again for what comes faster than the disk takes it, if a fetch is a stream's.
    func waitForDisk(_ fetch: BlockFetch) async {
        guard fetch.run.count >= Self.streamRunBlockCount else { return }
        // What is asked for ahead leaves a quarter at first.
        while self.state.withLock({ state in
            self.roomBesideHeld(state).map { $0 < Int(state.governor.budget) / 4 } ?? false
        }), !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    /// As many blocks as the kernel asks for at once for who reads on and on: 1 MiB.
    private static let streamRunBlockCount = 16

    /// Whether the disk has blocks of a file, of whatever size it was: then its first bytes may be among them.
    public func isOnDisk(_ path: RemotePath) async -> Bool { await self.disk?.holds(path) ?? false }

    /// Brings those blocks of a fetch in that are on the disk.
    ///
    /// - Returns: The runs that are not, in order.
    func readFromDisk(_ fetch: BlockFetch, _ source: BlockSource) async -> [Range<UInt64>] {
        guard let file = self.disk?.file(source) else { return [fetch.run] }
        if let present = file.present(in: fetch.run), present.isEmpty { return [fetch.run] }
        let found = await file.read(fetch.run)
        for index in fetch.run {
            guard let buffer = found[index] else { continue }
            self.finish(BlockKey(source.content, index), index, buffer, of: fetch, from: .disk)
        }
        return BlockGeometry.runs(of: fetch.run.filter { found[$0] == nil }, maximumCount: .max)
    }
}
