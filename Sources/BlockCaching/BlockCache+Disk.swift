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
    private let late = Mutex<Deque<(file: DiskFile, key: BlockKey)>>([])

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
    func store(_ key: BlockKey, _ buffer: ByteBuffer, of file: DiskFile) {
        self.late.withLock { late in
            if late.isEmpty && file.store(key.index, buffer) { return }
            late.append((file, key))
            if late.count > Self.maximumLateCount { late.removeFirst() }
        }
    }

    /// 1 GiB of blocks: more than memory has.
    private static let maximumLateCount = 16 << 10

    /// Has those stored that there is room for now.
    ///
    /// - Parameter memory: Gives a block that is still in memory.
    func storeLate(_ memory: (BlockKey) -> ByteBuffer?) {
        self.late.withLock { late in
            while let (file, key) = late.first {
                if let buffer = memory(key), !file.store(key.index, buffer) { return }
                late.removeFirst()
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
            self.finish(BlockKey(source.content, index), index, .success(buffer), of: fetch, from: .disk)
        }
        return BlockGeometry.runs(of: fetch.run.filter { found[$0] == nil }, maximumCount: .max)
    }
}
