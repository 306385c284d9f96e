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

    /// More are forgotten, and found again when they are asked for.
    private static let maximumCount = 128

    init(_ disk: DiskCache) {
        self.disk = disk
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
