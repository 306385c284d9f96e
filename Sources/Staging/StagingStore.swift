import CLinux
import Dispatch
import Glibc
import Logging
import Primitives
import Synchronization
import SystemPackage
import WireFormat

/// The staged files of a mount, in `staging/` of its cache directory, and the journal that knows how far they are.
///
/// What a crashed mount left there unsent is given to the next one, or kept in `recovered/`.
public final class StagingStore: Sendable {
    /// Where bytes that a mount could not upload are kept.
    public let recoveryDirectory: FilePath
    /// What outlives the process.
    public let journal: Journal
    /// Whether what earlier mounts left is taken up.
    public let recovers: Bool
    let directory: FilePath
    /// Frees so many bytes of the disk: whether it did.
    private let makeRoomOutside: @Sendable (Int) -> Bool
    /// The same, of staged files that the service has, too.
    private let spareBytes = Mutex<(@Sendable (Int) -> Bool)?>(nil)
    /// fdatasync(2).
    let syncFile: @Sendable (Int32) -> Int32
    /// See ``StagedFile/diskFailure()``.
    let checkFile: @Sendable (Int32) -> Int32
    /// What earlier mounts left to be uploaded, until it is taken.
    private let leftovers = Mutex<[Journal.Record]>([])
    /// The uploads that earlier mounts began, and where to, as far as they are not known to be over; none where this
    /// mount leaves all as it is.
    public let earlierUploads: [UploadID: RemotePath]
    /// Counted up from the time of the start, so that no name that an earlier mount left is met again; and by chance, so
    /// that a person who names a file by its number means no other filesystem's whose mount began in the same second.
    private let nextNumber: Mutex<UInt64>
    let openFiles = OpenStagedFiles()
    /// What all staged files take of memory, in bytes.
    let memory = Atomic(0)
    /// In so many pieces may be what is here of a file before gaps between them are filled.
    let extentLimit: Int
    /// Each syncs one file at a time.
    private let syncers = (0..<4).map { DispatchQueue(label: "tetherfs.sync-\($0)") }

    /// Opens the store.
    ///
    /// - Parameters:
    ///   - cache: Where it is; held as long as the store lives.
    ///   - recovers: Whether what earlier mounts left is looked at; a mount that only reads leaves it as it is.
    ///   - makeRoom: Called, on any thread, when the disk has no room for so many bytes: frees what can be fetched
    ///     again, and says whether it did.
    ///   - logger: Told of what a crashed mount left.
    /// - Throws: If its directories or its journal cannot be made.
    public convenience init(
        in cache: CacheDirectory,
        recovers: Bool = true,
        makeRoom: @escaping @Sendable (Int) -> Bool = { _ in false },
        logger: Logger
    ) throws(CacheDirectoryError) {
        try self.init(
            in: cache,
            recovers: recovers,
            makeRoom: makeRoom,
            boot: Journal.currentBoot(),
            logger: logger
        )
    }

    /// As the public one, for a test that tells which start of the machine this is, how its disk fails, and in how few
    /// pieces a file may be.
    init(
        in cache: CacheDirectory,
        recovers: Bool,
        makeRoom: @escaping @Sendable (Int) -> Bool,
        boot: String,
        syncFile: @escaping @Sendable (Int32) -> Int32 = { fdatasync($0) },
        checkFile: @escaping @Sendable (Int32) -> Int32 = { csystem_tell_lost_writes($0) },
        extentLimit: Int = 16_384,
        logger: Logger
    ) throws(CacheDirectoryError) {
        self.extentLimit = extentLimit
        self.makeRoomOutside = makeRoom
        self.recovers = recovers
        self.syncFile = syncFile
        self.checkFile = checkFile
        self.directory = try cache.makeSubdirectory("staging")
        self.recoveryDirectory = try cache.makeSubdirectory("recovered")
        self.journal = try Journal(
            in: cache,
            syncing: self.directory,
            makeRoom: makeRoom,
            boot: boot,
            logger: logger
        )
        let newest = self.journal.initialRecords.map(\.number).max() ?? 0
        self.earlierUploads = recovers ? self.journal.initialUploads : [:]
        let first = UInt64(time(nil)) << 20 + UInt64.random(in: 0..<1 << 20)
        self.nextNumber = Mutex(max(first, newest + 1))
        if recovers {
            let left = self.sortLeftovers(logger)
            self.leftovers.withLock { $0 = left }
        } else if self.journal.initialRecords.contains(where: { $0.state != .kept }) {
            logger.notice("what an earlier mount did not upload is left as it is, as this mount only reads")
        }
    }

    deinit { self.journal.finish() }

    /// Makes a staged file of which nothing is here yet.
    ///
    /// - Parameters:
    ///   - path: Whose bytes it stages.
    ///   - size: Its size in bytes on the service; 0 for a new or emptied file.
    ///   - baseSize: The size in bytes of what its upload will replace; nothing if nothing is there.
    ///   - place: Tells, under locks of the caller of what changes the file, where it is when it becomes dirty;
    ///     without it that is `path`.
    /// - Returns: The file, clean and without a byte here.
    /// - Throws: The local disk's error.
    public func makeFile(
        for path: RemotePath?,
        size: UInt64,
        baseSize: UInt64? = nil,
        at place: (@Sendable () -> RemotePath?)? = nil
    ) throws(Errno) -> StagedFile {
        let number = self.nextNumber.withLock { number in
            defer { number += 1 }
            return number
        }
        let name = StagingName(number: number, label: "")
        let descriptor = try self.open(name.clean, options: [.create, .exclusiveCreate])
        guard ftruncate(descriptor.rawValue, off_t(size)) == 0 else {
            let cause = Errno(rawValue: errno)
            try? descriptor.close()
            self.remove(name, nil)
            throw cause
        }
        var state = StagedFile.State(name: name, size: size, place: place ?? { path })
        state.baseSize = baseSize
        state.descriptor = descriptor
        return StagedFile(state: state, store: self)
    }

    /// Waits, blocking, until all that was queued for the journal is written, if it can be.
    ///
    /// What is here of what the service has goes: to be called when nobody reads from here any more.
    public func finish() {
        self.journal.finish()
        for name in CacheDirectory.names(in: self.directory) where name.hasPrefix("clean-") {
            unlink(self.path(name))
        }
    }

    /// Says what else can be freed when the disk has no room: staged files that the service has, too.
    ///
    /// - Parameter free: Called on any thread; frees so many bytes, and says whether some went.
    public func setSpareBytes(_ free: @escaping @Sendable (Int) -> Bool) {
        self.spareBytes.withLock { $0 = free }
    }

    /// Frees so many bytes of the disk, on any thread.
    ///
    /// - Returns: Whether it did.
    func makeRoom(_ byteCount: Int) -> Bool {
        self.makeRoomOutside(byteCount) || self.spareBytes.withLock(\.self)?(byteCount) == true
    }

    /// Whether the disk has less room than is to stay free for other programs.
    public var isDiskCrowded: Bool {
        DiskSpace(of: self.directory.string).map { $0.freeByteCount < $0.floor } ?? false
    }

    /// What the files here take of memory, about, in bytes.
    public var memoryByteCount: Int { self.memory.load(ordering: .relaxed) }

    // MARK: What earlier mounts left

    /// A file that an earlier mount left to be uploaded.
    public struct Leftover: Sendable {
        /// What is known of it.
        public let record: Journal.Record
        /// Its bytes; it is dirty, in the record's state.
        public let file: StagedFile
    }

    /// How many files earlier mounts left to be uploaded that were not taken yet.
    public var leftoverCount: Int { self.leftovers.withLock { $0.count } }

    /// What earlier mounts left to be uploaded, the oldest first; each is given once. What is not taken is there again
    /// at the next start.
    ///
    /// One that can be opened no more is logged, and stays as well.
    public func takeLeftovers(logger: Logger) -> [Leftover] {
        let records = self.leftovers.withLock { records in
            defer { records = [] }
            return records
        }
        let names = [UInt64: StagingName](
            CacheDirectory.names(in: self.directory).compactMap { name in
                StagingName(dirty: name).map { ($0.number, $0) }
            },
            uniquingKeysWith: { first, _ in first }
        )
        return records.compactMap { record in
            do throws(Errno) {
                return Leftover(record: record, file: try self.openLeftover(record, names[record.number]))
            } catch {
                logger.error(
                    "bytes that an earlier mount did not upload cannot be opened; they are left where they are",
                    metadata: ["path": "\(record.path?.description ?? "?")", "cause": "\(error)"]
                )
                return nil
            }
        }
    }

    private func openLeftover(
        _ record: Journal.Record,
        _ name: StagingName?
    ) throws(Errno) -> StagedFile {
        guard let name else { throw .noSuchFileOrDirectory }
        let descriptor = try self.open(name.dirty, options: [])
        // There may be thousands of them: it is opened again when it is read.
        defer { try? descriptor.close() }
        // What a record says of its end may be older than the file.
        guard ftruncate(descriptor.rawValue, off_t(record.size)) == 0 else { throw Errno(rawValue: errno) }
        let path = record.path
        var state = StagedFile.State(name: name, size: record.size, place: { path })
        state.stage = record.state
        state.baseSize = record.baseSize
        state.replacesUnknown = record.replacesUnknown
        state.completingSize = record.completingSize
        state.synced = record.synced
        // Of this start of the machine it may have been changed since it was synced.
        if record.boot == self.journal.boot, record.upload?.isSynced != true { state.changeCount = 1 }
        state.isPromised = record.isPromised
        state.confirmedCount = record.isPromised ? 0 : nil
        state.reason = record.reason
        state.time = record.time
        state.upload = record.upload?.id
        if let extents = record.content.extents {
            state.extents = extents
        } else {
            state.extents.insert(0..<record.size)
        }
        return StagedFile(state: state, store: self)
    }

    // MARK: For staged files

    func open(
        _ name: String,
        options: FileDescriptor.OpenOptions
    ) throws(Errno) -> FileDescriptor {
        do {
            return try FileDescriptor.open(
                self.directory.appending(name),
                .readWrite,
                options: options.union(.closeOnExec),
                permissions: [.ownerReadWrite]
            )
        } catch {
            throw error as? Errno ?? .ioError
        }
    }

    /// Brings a file's bytes to the disk, on a thread of the store's.
    ///
    /// - Returns: Why they are not there.
    func sync(_ file: StagedFile) async -> Errno? {
        await withCheckedContinuation { continuation in
            self.syncers[Int(file.number % UInt64(self.syncers.count))].async {
                continuation.resume(returning: file.sync())
            }
        }
    }

    /// Makes a file durable some time later.
    func syncSoon(_ file: StagedFile) {
        self.syncers[Int(file.number % UInt64(self.syncers.count))].async { [weak file] in
            file?.syncNow()
        }
    }

    func markDirty(_ name: StagingName) throws(Errno) {
        guard rename(self.path(name.clean), self.path(name.dirty)) == 0 else { throw Errno(rawValue: errno) }
    }

    func markClean(_ name: StagingName) {
        // Should it fail, the bytes are kept once too often.
        _ = rename(self.path(name.dirty), self.path(name.clean))
    }

    /// Nobody uses a staged file any more: a clean one goes; what a close covered is left for the next mount, and what
    /// is not complete is put where a person finds it.
    func remove(_ name: StagingName, _ stage: Journal.State?) {
        switch stage {
        case nil: unlink(self.path(name.clean))
        case .open: _ = self.keep(name.dirty)
        case .pending, .uploading, .unverified, .failed, .kept: break
        }
    }

    /// Moves a file to the recovery directory; where that fails it stays where it is.
    func keep(_ name: String) -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let kept = self.recoveryDirectory.appending("\(time.tv_sec)-\(name)").string
        return rename(self.path(name), kept) == 0 ? kept : self.path(name)
    }

    func path(_ name: String) -> String { self.directory.appending(name).string }
}
