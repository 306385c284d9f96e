import Dispatch
import Logging
import Primitives
import Synchronization
import SystemPackage
import WireFormat

/// Blocks of a filesystem's files on the local disk, which later mounts have too.
///
/// It costs speed alone when the disk fails, is full, read-only or gone: then blocks are missing. Nothing here throws,
/// and nothing waits for the disk on the caller's thread, but opening. Each block is verified when it is read back, so
/// neither data nor lines of the catalogue need be synced; what must not come back, that is ``forget(_:)``, is.
///
/// Of a path one version is kept, named by its size. Blocks lie in segments, in the order in which they came; a
/// segment is only ever appended to, and evicted whole.
public final class DiskCache: Sendable {
    /// What can be chosen.
    public struct Options: Sendable {
        /// How many bytes may be on the disk, the catalogue's included; less than 4 MiB turn the cache off, and
        /// nothing of it is served any more.
        public var budget: UInt64
        /// How many bytes of the disk stay free; nothing for 1 GiB or a twentieth of it, whichever is less.
        public var freeSpaceFloor: UInt64?
        /// How long a block holds after it was fetched; nothing for ever.
        public var blockTTL: Duration?

        /// How many bytes may wait to be written; what comes beyond is turned away. They are the caller's buffers, so
        /// that they take no memory of their own while the caller keeps them.
        public var queueByteLimit: Int

        /// Sets all.
        public init(
            budget: UInt64 = 10 << 30,
            freeSpaceFloor: UInt64? = nil,
            blockTTL: Duration? = nil,
            queueByteLimit: Int = 16 << 20
        ) {
            self.queueByteLimit = queueByteLimit
            self.budget = budget
            self.freeSpaceFloor = freeSpaceFloor
            self.blockTTL = blockTTL
        }
    }

    let options: Options
    let freeSpaceFloor: UInt64
    let segmentByteCount: Int
    let environment: DiskEnvironment
    let allocate: @Sendable (Int) -> ByteBuffer
    let logger: Logger
    let state: Mutex<State>
    /// Writes, and all that changes the catalogue, one after the other.
    let writer = DispatchQueue(label: "tetherfs.blocks.writer")
    /// How fast the disk takes blocks.
    let pace = WritePace()
    /// Told when there is room again in the queue.
    let roomObserver = Mutex<(@Sendable () -> Void)?>(nil)
    private let readers = (0..<4).map { DispatchQueue(label: "tetherfs.blocks.reader-\($0)") }
    private let nextReader = Atomic<Int>(0)

    struct State {
        /// None if the cache does not work (any more).
        var disk: Disk?
        /// How many pieces of work the disk has not answered in time, and not since.
        var stuckCount = 0
        /// Whether blocks are still written.
        var isStoring = true
        var files: [RemotePath: WeakFile] = [:]
        private var nextSweep = 1024
        var table = SegmentTable()
        /// How many segments the budget has room for.
        var capacity = 1
        var catalogueByteCount: UInt64 = 0
        var drops = DropSet()
        var queue = WriteQueue()
        /// Whether there was no room in it for a block, since it was last half empty.
        var hasTurnedAway = false
        /// Whether the writer was asked to write down the uses of segments.
        var isSavingUses = false
        var statistics = DiskCacheStatistics()
        var logged: Set<String> = []

        /// Ends the versions of a path, and keeps new ones from loading and storing until ``endDrop(_:isTree:)``.
        mutating func drop(_ path: RemotePath, isTree: Bool) {
            self.drops.add(path, isTree: isTree)
            self.endVersions(of: path, isTree: isTree)
        }

        /// Ends ``drop(_:isTree:)``, and if need be the versions that were made meanwhile.
        mutating func endDrop(_ path: RemotePath, isTree: Bool, endingVersions: Bool = false) {
            self.drops.remove(path, isTree: isTree)
            if endingVersions { self.endVersions(of: path, isTree: isTree) }
        }

        private mutating func endVersions(of path: RemotePath, isTree: Bool) {
            for known in isTree ? Array(self.files.keys.filter { $0.isWithin(path) }) : [path] {
                self.files.removeValue(forKey: known)?.file?.drop()
            }
        }

        /// Takes out what nobody holds any more, now and then: a file's own end may come while this is locked.
        mutating func sweepFiles() {
            guard self.files.count >= self.nextSweep else { return }
            self.files = self.files.filter { $0.value.file != nil }
            self.nextSweep = max(1024, self.files.count * 2)
        }
    }

    struct WeakFile: Sendable {
        weak var file: DiskFile?
    }

    /// Opens the cache of a filesystem, however large at once.
    ///
    /// A cache that cannot work says why in the log and behaves as an empty one.
    ///
    /// - Parameters:
    ///   - directory: Where it is; the directory above exists, and no other process uses it at the time.
    ///   - identity: Names the filesystem, its service included; blocks of another one are not served.
    ///   - options: What can be chosen.
    ///   - logger: Told once of each kind of trouble.
    ///   - allocate: Makes buffers of so many bytes for what is read.
    public convenience init(
        directory: FilePath,
        identity: String,
        options: Options,
        logger: Logger,
        allocate: @escaping @Sendable (Int) -> ByteBuffer = { ByteBuffer(count: $0) }
    ) {
        self.init(
            directory: directory,
            identity: identity,
            options: options,
            environment: DiskEnvironment(),
            logger: logger,
            allocate: allocate
        )
    }

    init(
        directory: FilePath,
        identity: String,
        options: Options,
        environment: DiskEnvironment,
        logger: Logger,
        allocate: @escaping @Sendable (Int) -> ByteBuffer = { ByteBuffer(count: $0) }
    ) {
        self.options = options
        self.environment = environment
        self.logger = logger
        self.allocate = allocate
        let segmentByteCount = environment.segmentByteCount ?? Self.segmentByteCount(budget: options.budget)
        self.segmentByteCount = segmentByteCount
        self.freeSpaceFloor =
            options.freeSpaceFloor ?? DiskSpace(of: directory.removingLastComponent().string)?.floor ?? 0
        var state = State()
        if options.budget < Self.minimumBudget {
            Self.discard(directory, logger)
        } else {
            do {
                let disk = try Disk(
                    BlockDirectory(directory, identity: identity, segmentByteCount: segmentByteCount),
                    budget: options.budget,
                    segmentByteCount: segmentByteCount,
                    logger: logger
                )
                state.table = SegmentTable(try disk.catalogue.segments())
                state.capacity = Int(options.budget / UInt64(segmentByteCount))
                state.disk = disk
            } catch {
                // What this mount changes it would not forget.
                Self.discard(directory, logger)
                logger.warning("there is no disk cache for this mount", metadata: ["cause": "\(error)"])
                state.statistics.failures += 1
            }
        }
        self.state = Mutex(state)
        if let disk = state.disk { self.writer.async { self.tidy(disk) } }
    }

    private static let minimumBudget: UInt64 = 4 << 20

    /// 8 MiB, or so much that even a small budget has more than a dozen segments to choose from.
    private static func segmentByteCount(budget: UInt64) -> Int {
        Int(min(8 << 20, max(256 << 10, budget / 128 / DiskBlocks.byteCount * DiskBlocks.byteCount)))
    }

    /// What it did until now.
    public var statistics: DiskCacheStatistics {
        self.state.withLock { state in
            var statistics = state.statistics
            statistics.byteCount =
                state.catalogueByteCount + UInt64(state.table.count * self.segmentByteCount)
            return statistics
        }
    }

    /// A version of a file. If the path was known with another size, that version's blocks are dropped.
    ///
    /// It answers at once, and knows nothing yet: ``DiskFile/load(_:)``.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - size: Its size in bytes, at most 16 TiB.
    /// - Returns: The version, the same for all who ask.
    public func file(_ path: RemotePath, size: UInt64) -> DiskFile {
        let (file, isOther) = self.state.withLock { state in
            let known = state.files[path]?.file
            if let known, known.size == size, !known.isDropped { return (known, false) }
            // A version that is being replaced now must not be loaded from lines that are still there.
            let isOther = known.map { $0.size != size } ?? false
            if isOther { state.drop(path, isTree: false) }
            let file = DiskFile(path, size: size, cache: self)
            state.files[path] = WeakFile(file: file)
            state.sweepFiles()
            return (file, isOther)
        }
        if isOther { self.writer.async { self.dropOnDisk(path, isTree: false) } }
        return file
    }

    /// Whether there are blocks of a file, of whichever size it had.
    public func holds(_ path: RemotePath) async -> Bool {
        if self.isOff { return false }
        let isHeld: Bool? = await self.onReader {
            guard let disk = self.state.withLock({ $0.disk }) else { return false }
            // No file has this size.
            return (try? disk.catalogue.hasOtherVersion(key: path.description, size: 1 << 62)) ?? false
        }
        return isHeld ?? false
    }

    /// Writes what waits, and ends; from then on it behaves as an empty cache.
    ///
    /// - Parameter limit: After so long it returns even if the disk does not answer; what was not written by then
    ///   is missing later.
    public func close(within limit: Duration = .seconds(5)) async {
        let isDone = OneShot<Void>()
        self.writer.async {
            // Those who were turned away come while this goes on.
            while self.state.withLock({ $0.queue.byteCount > 0 }) { self.drain() }
            self.commit()
            if let disk = self.state.withLock({ $0.disk.take() }) {
                self.saveUses(disk)
                disk.catalogue.close()
            }
            isDone.resolve(())
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + limit.timeInterval) { isDone.resolve(()) }
        // Nothing else ends the wait: a cancelled caller still closes.
        await Task { _ = await isDone.wait() }.value
    }

    /// Whether it behaves as an empty one, for ever or while the disk does not answer.
    var isOff: Bool { self.state.withLock { $0.disk == nil || $0.stuckCount > 0 } }

    /// Runs work that waits for the disk, on a thread of the cache's.
    ///
    /// - Returns: What it gives; nothing if the disk does not answer in time, or the task was cancelled.
    func onReader<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result? {
        let turn = self.nextReader.add(1, ordering: .relaxed).oldValue
        let queue = self.readers[Int(UInt(bitPattern: turn) % UInt(self.readers.count))]
        return await self.run(on: queue, within: self.environment.readLimit, work) ?? nil
    }

    /// Runs work on the writer's thread, which may be done after this has returned.
    ///
    /// - Returns: Whether it was done in time.
    @discardableResult
    func onWriter(_ work: @escaping @Sendable () -> Void) async -> Bool {
        // A cancelled caller waits too: what it does next must not come before this.
        await Task { await self.run(on: self.writer, within: self.environment.writeLimit, work) != nil }.value
    }

    /// A disk that hangs must hang nobody: after the limit it counts as stuck until it answers.
    private func run<Result: Sendable>(
        on queue: DispatchQueue,
        within limit: Duration,
        _ work: @escaping @Sendable () -> Result
    ) async -> Result? {
        let answer = OneShot<Result?>()
        let progress = Progress()
        queue.async {
            let result = work()
            if progress.finish() { self.state.withLock { $0.stuckCount -= 1 } }
            answer.resolve(result)
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + limit.timeInterval) {
            guard progress.isLate() else { return }
            self.state.withLock { $0.stuckCount += 1 }
            self.failed("the disk does not answer", Errno.timedOut)
            answer.resolve(nil)
        }
        return await answer.wait() ?? nil
    }

    /// Whether some work has ended, or was found to be late first.
    private final class Progress: Sendable {
        private let state = Mutex((isFinished: false, isLate: false))

        /// Ends it: whether it was late.
        func finish() -> Bool {
            self.state.withLock { state in
                state.isFinished = true
                return state.isLate
            }
        }

        /// Finds it late, unless it has ended.
        func isLate() -> Bool {
            self.state.withLock { state in
                state.isLate = !state.isFinished
                return state.isLate
            }
        }
    }

    /// Sees to it that what is there now is served by no later mount.
    private static func discard(_ directory: FilePath, _ logger: Logger) {
        do throws(DiskCacheError) {
            try BlockDirectory.discard(directory)
        } catch {
            logger.error(
                "the disk cache may serve outdated blocks to a later mount: remove its directory",
                metadata: ["directory": "\(directory)", "cause": "\(error)"]
            )
        }
    }

    /// What a failure means for the rest of the mount.
    enum Consequence {
        case goOn
        /// Store nothing more. What is there is served, and can be forgotten.
        case storeNothing
        /// Stop, and leave nothing that the next mount would serve.
        case beginAnew

        fileprivate func message(_ what: String) -> String {
            switch self {
            case .goOn: "the disk cache: \(what)"
            case .storeNothing: "the disk cache: \(what); this mount stores nothing more in it"
            case .beginAnew: "the disk cache: \(what); it is off for this mount, and empty for the next"
            }
        }
    }

    /// Counts a failure, and says so if it is the first of its kind.
    func failed(_ what: String, _ error: any Error, then consequence: Consequence = .goOn) {
        let (isNew, ended): (Bool, Disk?) = self.state.withLock { state in
            guard let disk = state.disk else { return (false, nil) }
            state.statistics.failures += 1
            let isNew = state.logged.insert(what).inserted
            switch consequence {
            case .goOn: return (isNew, nil)
            case .storeNothing:
                state.isStoring = false
                return (isNew, nil)
            case .beginAnew:
                // Its connections and files are closed by the last who uses them.
                state.disk = nil
                return (true, disk)
            }
        }
        if isNew { self.logger.warning("\(consequence.message(what))", metadata: ["cause": "\(error)"]) }
        guard let ended else { return }
        do {
            try ended.directory.removeCatalogue()
        } catch {
            self.logger.error(
                "the disk cache may serve outdated blocks to the next mount: remove its directory",
                metadata: ["cause": "\(error)"]
            )
        }
        // Nothing leads to its blocks any more: others need the room.
        self.writer.async { ended.segments.removeAll { _ in false } }
    }
}

extension Duration {
    /// In seconds, as Dispatch takes it.
    var timeInterval: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1e18
    }
}
