import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import Synchronization
import Transport
import WireFormat

/// Asks for files' bytes before they are read: the first ones side by side with the size, and whole small files ahead
/// of a program that walks through directories (``ReadWalks`` decides which).
///
/// What comes is put into the cache under the version that it belongs to, and nowhere if it fits none.
final class ContentsAhead: Sendable {
    typealias Head = SingleFlight<InodeNumber, RemoteError?>.Waiting

    private let namespace: Namespace
    private let cache: BlockCache
    private let remote: any RemoteFilesystem
    private let walks: Mutex<Walks>
    private let guesses = Mutex(ReadGuesses())
    /// First blocks under way that the cache does not know of yet, as their files' versions are not known.
    private let heads = SingleFlight<InodeNumber, RemoteError?>()

    /// Files up to so many bytes are fetched whole.
    static let wholeByteCount: UInt64 = 1 << 20
    /// So many bytes are fetched of larger ones.
    static let partByteCount: UInt64 = 256 << 10

    init(namespace: Namespace, cache: BlockCache, remote: any RemoteFilesystem) {
        self.namespace = namespace
        self.cache = cache
        self.remote = remote
        // The rest is for what was read and for read-ahead within files.
        self.walks = Mutex(Walks(walks: ReadWalks(byteLimit: UInt64(cache.memoryBudget / 4))))
    }

    /// What files ahead of their readers take, in bytes, for tests.
    var unreadByteCount: UInt64 { self.walks.withLock { $0.walks.unreadByteCount } }

    // MARK: The first bytes

    /// A program wants the attributes of a file whose size must be asked for, and will perhaps read it: asks for its
    /// first bytes too.
    ///
    /// Where nobody can tell, it is a guess, which nothing makes that stats one file after the other.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - isCertain: Whether the program opens the file to read it; nothing if it cannot be told.
    /// - Returns: What to cancel if the size does not come.
    func guessRead(of inode: InodeNumber, isCertain: () -> Bool?) -> Task<Void, Never>? {
        // What is believed for no time is asked for again by open(2) in any case; of a file that was seen before the
        // kernel or the cache may have the bytes; and a size that is on its way may be one of many.
        guard self.namespace.timeToLive > .zero, !self.namespace.isAskingSize(of: inode),
            let file = self.namespace.sibling(inode), self.namespace.isNeverSeen(file),
            let mark = self.namespace.mark(of: file)
        else { return nil }
        let isLikely =
            isCertain()
            ?? (!self.namespace.isSwept(file.directory) && self.guesses.withLock { $0.spend() })
        guard isLikely else { return nil }
        let head = self.beginHead(of: file, mark, .waitedFor)
        return Task { _ = await self.heads.wait(head) }
    }

    /// Joins the first bytes of a file that are on their way, if they are; ``wait(for:)`` is due.
    ///
    /// Whoever does so has its version, so that the file's size is not waited for behind others.
    func head(of inode: InodeNumber) -> Head? {
        self.heads.join(inode)
    }

    /// Waits for the first bytes of a file; they are in the cache then, if they fit.
    ///
    /// - Returns: Why they did not come, if that is the end of it: who asks again would wait as long for the same.
    func wait(for head: Head) async -> RemoteError? {
        let error = await self.heads.wait(head) ?? nil
        return switch error {
        case .unavailable, .failed, .timedOut: error
        default: nil
        }
    }

    private func beginHead(of file: Sibling, _ mark: ContentMark, _ urgency: RequestUrgency) -> Head {
        self.heads.begin(file.inode, ahead: urgency.raiser, joined: urgency.alsoRaise) {
            await self.storeHead(of: file, mark, urgency)
        }
    }

    private func storeHead(
        of file: Sibling,
        _ mark: ContentMark,
        _ urgency: RequestUrgency
    ) async -> RemoteError? {
        let sink = HeadSink { self.namespace.instant }
        async let failure = self.read(mark.path, into: sink, urgency)
        let version: FileVersion?
        do throws(RemoteError) {
            version = try await self.namespace.version(of: file, urgency: urgency)
        } catch {
            return nil
        }
        let sizeSeen = self.namespace.instant
        // Nothing of an empty file is read.
        guard let version, version.size > 0 else { return nil }
        if let failure = await failure { return failure }
        if let block = sink.block(ofFileOfSize: version.size, seen: sizeSeen) {
            let source = BlockSource(content: version.content, size: version.size) { mark.path }
            // A walk that has ended meanwhile wants it no more.
            let reader = self.reader(of: file)
            self.cache.insert(
                source,
                block: 0,
                block,
                for: reader,
                isAhead: reader != nil || urgency.isWaitedFor,
                if: { self.namespace.isCurrent(version.content, of: file, since: mark) }
            )
        }
        return nil
    }

    private func read(
        _ path: RemotePath,
        into sink: HeadSink,
        _ urgency: RequestUrgency
    ) async -> RemoteError? {
        // They are read from there then, once it is known whether they are of this version.
        if await self.cache.isOnDisk(path) { return nil }
        do throws(RemoteError) {
            let range = 0..<BlockGeometry.blockByteCount
            _ = try await self.remote.read(path, range, into: sink, urgency: urgency)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Walks

    /// A program reads a file for the first time since it opened it.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - size: Its size in bytes.
    ///   - offset: Where, in bytes from the file's start.
    func didBeginReading(_ inode: InodeNumber, size: UInt64, at offset: UInt64) {
        self.guesses.withLock { $0.earn() }
        guard offset == 0, let file = self.namespace.sibling(inode) else { return }
        let neighbours = self.namespace.neighbours(of: file)
        if neighbours.before == nil { self.enter(file.directory) }
        let now = self.namespace.instant
        let ahead = self.changeWalks {
            $0.didRead(file, size: size, neighbours: neighbours, at: now)
        }
        if let ahead { self.fetch(ahead) }
    }

    /// A program opened a file, and closed it without reading anything.
    func didNotRead(_ inode: InodeNumber) {
        guard let file = self.namespace.sibling(inode) else { return }
        self.changeWalks { $0.stop(in: file.directory) }
    }

    /// A program comes into a directory: it lists it, or reads its first file.
    func enter(_ directory: InodeNumber) {
        let parent = self.namespace.location(of: directory)?.parent
        let now = self.namespace.instant
        let origins = self.walks.withLock { $0.walks.origins(of: directory, parent: parent, at: now) }
        guard
            let origin = origins.first(where: {
                $0 == parent || self.namespace.isNext(directory, after: $0)
            })
        else { return }
        let isEmpty = self.namespace.files(in: directory, after: nil, limit: 1).isEmpty
        let ahead = self.changeWalks {
            $0.enter(directory, from: origin, isEmpty: isEmpty, at: now)
        }
        if let ahead { self.fetch(ahead) }
    }

    /// Asks for the next files. All that is asked for ahead of a walk is asked for here.
    private func fetch(_ ahead: ReadWalks.Ahead) {
        for file in self.namespace.files(in: ahead.directory, after: ahead.name, limit: ahead.count) {
            guard self.cache.readAheadRoom > 0 else { return }
            let size = self.namespace.freshVersion(of: file)?.size
            let isTaken = self.changeWalks {
                $0.take(file, size: size, countedBytes: Self.byteCount(ofFileOfSize:))
            }
            guard isTaken else { return }
            Task { await self.fetch(file) }
        }
    }

    private func fetch(_ file: Sibling) async {
        guard let mark = self.namespace.mark(of: file) else { return }
        // The cache does not know of a head under way, and would ask for the first block once more.
        if self.namespace.isNeverSeen(file) || self.heads.isUnderWay(file.inode) {
            _ = await self.heads.wait(self.beginHead(of: file, mark, .ahead()))
        } else {
            _ = try? await self.namespace.version(of: file, urgency: .ahead())
        }
        let version = self.namespace.freshVersion(of: file)
        let count = Self.byteCount(ofFileOfSize: version?.size ?? 0)
        guard self.changeWalks({ $0.resize(file, to: count) }), let version,
            let reader = self.reader(of: file)
        else { return }
        let source = BlockSource(
            content: version.content,
            size: version.size,
            outdated: { self.namespace.endVersion(version.content, of: file) },
            // Who opens the file joins what is on its way: also where it is written to, or gets another name, before that
            // is asked for.
            path: { self.namespace.path(of: file.inode) ?? self.namespace.mark(of: file)?.path }
        )
        reader.readAhead(source, 0..<count)
    }

    /// The walks, and what reads ahead of each that asked for something.
    private struct Walks {
        var walks: ReadWalks
        var readers: [UInt64: BlockReader] = [:]
    }

    private func changeWalks<Result>(_ change: (inout ReadWalks) -> Result) -> Result {
        let (result, ended) = self.walks.withLock { state in
            let result = change(&state.walks)
            return (result, state.walks.takeDropped().compactMap { state.readers.removeValue(forKey: $0) })
        }
        for reader in ended { reader.close() }
        return result
    }

    /// What reads ahead of the walk that a file was asked for; nothing if it was read by now, or the walk has ended.
    private func reader(of file: Sibling) -> BlockReader? {
        self.walks.withLock { state in
            guard let number = state.walks.number(of: file) else { return nil }
            if let reader = state.readers[number] { return reader }
            let reader = self.cache.makeReader()
            state.readers[number] = reader
            return reader
        }
    }

    private static func byteCount(ofFileOfSize size: UInt64) -> UInt64 {
        size <= self.wholeByteCount ? size : self.partByteCount
    }
}
