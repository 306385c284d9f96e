import Primitives
import Synchronization
import WireFormat

/// One version of a file in a ``DiskCache``.
///
/// It ends when the cache forgets the path or is asked for the path with another size: then it has nothing and
/// takes nothing, and ``DiskCache/file(_:size:)`` makes a new one.
public final class DiskFile: Sendable {
    /// The file.
    public let path: RemotePath
    /// The version's size in bytes.
    public let size: UInt64
    let key: String
    private let checksums: VersionSeal
    private let cache: DiskCache
    private let content = Mutex(KnownBlocks())

    init(_ path: RemotePath, size: UInt64, cache: DiskCache) {
        self.path = path
        self.size = size
        self.key = path.description
        self.checksums = VersionSeal(key: self.key, size: size)
        self.cache = cache
    }

    // MARK: What is there

    /// Which blocks are there.
    ///
    /// - Parameter blocks: Their indices, end exclusive; what is beyond the file's end is not there.
    /// - Returns: The indices in order; nothing if that is not known before ``load(_:)``.
    public func present(in blocks: Range<UInt64>) -> [UInt64]? {
        let blocks = self.clamp(blocks)
        let (queued, stored): ([UInt64], [StoredBlock])
        switch self.content.withLock({ $0.find(blocks) }) {
        case .unknown: return self.cache.isOff ? [] : nil
        case .known(let waiting, let found):
            queued = waiting.filter { self.cache.isFresh($0.block.fetched) }.map(\.index)
            stored = found
        }
        let usable = self.cache.usable(stored).map { UInt64($0.index) }
        return queued.isEmpty ? usable : (queued + usable).sorted()
    }

    /// Looks up which blocks are there.
    ///
    /// - Parameter blocks: Their indices, end exclusive. Of more than 512 MiB only a part stays known.
    public func load(_ blocks: Range<UInt64>) async {
        let blocks = self.clamp(blocks)
        if case .known = self.content.withLock({ $0.find(blocks) }) { return }
        _ = await self.cache.onReader { self.loadNow(blocks) }
    }

    /// Reads blocks, looking up first which are there.
    ///
    /// - Parameter blocks: Their indices, end exclusive.
    /// - Returns: Those that are there and right, by index; each is 64 KiB long, the file's last one shorter.
    public func read(_ blocks: Range<UInt64>) async -> [UInt64: ByteBuffer] {
        let blocks = self.clamp(blocks)
        if self.cache.isOff { return [:] }
        let waiting: [UInt64: KnownBlocks.Waiting] = self.content.withLock { content in
            content.queued.isEmpty ? [:] : blocks.reduce(into: [:]) { $0[$1] = content.queued[$1] }
        }
        let queued = waiting.filter { self.cache.isFresh($0.value.fetched) }.mapValues(\.buffer)
        let found =
            queued.count == blocks.count
            ? queued : await self.cache.onReader { self.readNow(blocks) } ?? queued
        self.cache.state.withLock { state in
            state.statistics.hits += found.count
            state.statistics.misses += blocks.count - found.count
        }
        return found
    }

    /// Seals a block that has just come from the service: cheapest while the processor still has its bytes.
    ///
    /// - Parameters:
    ///   - index: Which one.
    ///   - buffer: Its bytes, all of them.
    /// - Returns: What ``store(_:_:)`` wants; nothing if the block is known to be there, or cannot be stored.
    public func seal(_ index: UInt64, _ buffer: ByteBuffer) -> BlockSeal? {
        guard self.cache.isStoring, index < DiskBlocks.count(size: self.size),
            buffer.count == DiskBlocks.byteCount(of: index, size: self.size)
        else { return nil }
        let (queued, stored) = self.content.withLock { $0.find(index) }
        if let queued, self.cache.isFresh(queued) { return nil }
        if let stored, !self.cache.usable([stored]).isEmpty { return nil }
        let fetched = UInt32(clamping: self.cache.environment.secondsSince1970())
        let checksum = self.checksums.checksum(of: buffer, index: UInt32(index), fetched: fetched)
        return BlockSeal(index: index, fetched: fetched, checksum: checksum)
    }

    /// Stores a block, some time later.
    ///
    /// - Parameters:
    ///   - seal: What ``seal(_:_:)`` said of it.
    ///   - buffer: Its bytes.
    /// - Returns: Whether there is no more to be done; not if too much waits already: see ``DiskCache/whenRoom(_:)``.
    public func store(_ seal: BlockSeal, _ buffer: ByteBuffer) -> Bool {
        self.cache.enqueue(QueuedBlock(file: self, seal: seal, buffer: buffer))
    }

    private func clamp(_ blocks: Range<UInt64>) -> Range<UInt64> {
        blocks.clamped(to: 0..<DiskBlocks.count(size: self.size))
    }

    // MARK: On the cache's threads

    private func loadNow(_ blocks: Range<UInt64>) {
        guard let disk = self.cache.state.withLock({ $0.disk }) else { return }
        for extent in DiskBlocks.extents(of: blocks) {
            // A block that was written between the look and the note would be missing: then look again.
            while let writeCount = self.content.withLock({ content in
                content.isLoaded(extent) ? nil : content.writeCount
            }) {
                let (found, isAll) = self.lookUp(extent, disk)
                self.content.withLock { content in
                    guard content.writeCount == writeCount else { return }
                    if isAll && found.isEmpty { content.loadNothing() }
                    content.load(found, of: extent)
                }
            }
        }
    }

    /// The catalogue's blocks of an extent, and whether it has none of others.
    private func lookUp(_ extent: UInt64, _ disk: Disk) -> (blocks: [StoredBlock], areAll: Bool) {
        if self.cache.state.withLock({ $0.drops.contains(self.path) }) { return ([], false) }
        do {
            if !self.content.withLock({ $0.isAlone }) {
                if try disk.catalogue.hasOtherVersion(key: self.key, size: self.size) {
                    let emptied = try disk.catalogue.delete(.otherVersions(self.key, size: self.size))
                    self.cache.writer.async { [cache = self.cache] in cache.removeEmpty(emptied, disk) }
                }
                self.content.withLock { $0.isAlone = true }
                // A file that nobody has read yet is not looked up part by part.
                if try !disk.catalogue.hasVersion(key: self.key, size: self.size) { return ([], true) }
            }
            let blocks = try disk.catalogue.blocks(
                key: self.key,
                size: self.size,
                extents: extent..<extent + 1
            )
            return (blocks, false)
        } catch {
            self.cache.failed(
                "its catalogue cannot be read",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
            return ([], false)
        }
    }

    private func readNow(_ blocks: Range<UInt64>) -> [UInt64: ByteBuffer] {
        self.loadNow(blocks)
        guard let disk = self.cache.state.withLock({ $0.disk }),
            case .known(let queued, let stored) = self.content.withLock({ $0.find(blocks) })
        else { return [:] }
        let fresh = queued.filter { self.cache.isFresh($0.block.fetched) }
        var found = Dictionary(uniqueKeysWithValues: fresh.map { ($0.index, $0.block.buffer) })
        for run in self.cache.usable(stored, touching: true).runs() { self.read(run, disk, into: &found) }
        return found
    }

    /// Reads blocks that lie one after the other.
    private func read(_ run: ArraySlice<StoredBlock>, _ disk: Disk, into found: inout [UInt64: ByteBuffer]) {
        guard let first = run.first else { return }
        let buffers = run.map { block in
            self.cache.allocate(DiskBlocks.byteCount(of: UInt64(block.index), size: self.size))
        }
        var count: Int
        do {
            count = try disk.segments.file(first.segment).read(into: buffers, at: Int(first.offset))
        } catch {
            self.content.withLock { $0.remove(run) }
            // It may have been evicted since.
            guard self.cache.state.withLock({ $0.table.contains(first.segment) }) else { return }
            self.cache.failed("a segment cannot be read", error)
            if error == .noSuchFileOrDirectory {
                self.cache.writer.async { [cache = self.cache] in cache.removeSegment(first.segment, disk) }
            }
            return
        }
        for (block, buffer) in zip(run, buffers) {
            let isWhole = count >= buffer.count
            count -= buffer.count
            let isRight =
                isWhole
                && block.checksum
                    == self.checksums.checksum(of: buffer, index: block.index, fetched: block.fetched)
            if isRight {
                found[UInt64(block.index)] = buffer
            } else {
                self.content.withLock { $0.remove([block]) }
                self.cache.state.withLock { $0.statistics.corrupted += 1 }
            }
        }
    }

    // MARK: For the cache

    /// Whether it has ended, and stays empty: its bytes were to be changed, or its path is another version's.
    public var isDropped: Bool { self.content.withLock { $0.isDropped } }

    /// Ends this version: it has nothing any more.
    func drop() {
        self.content.withLock { content in
            content = KnownBlocks()
            content.isDropped = true
        }
    }

    /// Notes that a block waits to be written.
    ///
    /// - Returns: Whether it is to be: not twice, and not in a version that has ended.
    func enqueue(_ seal: BlockSeal, _ buffer: ByteBuffer) -> Bool {
        self.content.withLock { content in
            guard !content.isDropped, content.queued[seal.index] == nil else { return false }
            content.queued[seal.index] = KnownBlocks.Waiting(buffer: buffer, fetched: seal.fetched)
            return true
        }
    }

    /// Notes that blocks were written.
    func didWrite(_ blocks: some Sequence<StoredBlock>) {
        self.content.withLock { content in
            content.writeCount += 1
            for block in blocks {
                content.queued.removeValue(forKey: UInt64(block.index))
                if content.isDropped { continue }
                content.uncommitted[UInt64(block.index)] = block
                content.insert(block)
            }
        }
    }

    /// Notes that a block was not written.
    func didNotWrite(_ index: UInt64) {
        self.content.withLock { _ = $0.queued.removeValue(forKey: index) }
    }

    /// Notes that the catalogue has blocks, or that it could not take them.
    func didCommit(_ blocks: [StoredBlock], areKnown: Bool) {
        self.content.withLock { content in
            content.writeCount += 1
            for block in blocks where content.uncommitted[UInt64(block.index)] == block {
                content.uncommitted[UInt64(block.index)] = nil
            }
            if !areKnown { content.remove(blocks) }
        }
    }
}
