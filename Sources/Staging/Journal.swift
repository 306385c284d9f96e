import Dispatch
import Glibc
import Logging
import Synchronization
import SystemPackage
import WireFormat

/// What must outlive the process: which staged files there are and how far their uploads are, renames under way, and
/// attributes that the service cannot hold.
///
/// One thread of its own writes. Changes are queued, in order, without waiting; one survives the process's end as soon
/// as that thread has written it, and a power failure once a ``commit()`` after it has returned.
public final class Journal: Sendable {
    struct Work {
        var queue = JournalQueue()
        var waiters: [@Sendable (Errno?) -> Void] = []
        var isScheduled = false
        /// What brings records up to date some time later.
        var notes: [@Sendable () -> Void] = []
        /// Whether something was written that a power failure could take.
        var isUnsynced = true
        /// How many records were removed that a power failure brings back, and of how many of them it does not any more.
        var withdrawals: (count: Int, syncedCount: Int) = (0, 0)
        var isFailing = false
        var isRetrying = false
        var pathChangeCount = 0
        var nextMove: Int64
    }

    /// The time of the first mount with this cache directory, in seconds since 1970.
    public let firstMountTime: Int64
    /// A number above those of all whose attributes were remembered at the start.
    public let firstFreeNumber: UInt64
    /// Which start of the machine this is: bytes not synced in another one may be lost.
    let boot: String
    /// The records that were there at the start.
    let initialRecords: [Record]
    /// The uploads that had been begun by the start, and where to, as far as they were not known to be over.
    let initialUploads: [UploadID: RemotePath]
    /// Whether a damaged journal was moved aside at the start.
    let wasDamaged: Bool

    private let cache: CacheDirectory
    private let database: JournalDatabase
    private let thread = DispatchQueue(label: "tetherfs.journal")
    private static let threadKey = DispatchSpecificKey<ObjectIdentifier>()
    let work: Mutex<Work>
    /// Held while changes are queued of which no crash may leave only some.
    private let grouping = Mutex(())
    /// Synced before each commit, so that the names of staged files are as durable as their records.
    private let directory: FileDescriptor
    private let makeRoom: @Sendable (Int) -> Bool
    private let logger: Logger
    private let syncedCommits = Atomic(0)
    private let writtenExtents = Atomic(0)
    /// Whether syncing the log has failed, be it in an earlier process: what it holds may be on no disk, and nothing that is
    /// added to it counts before all of it is written anew.
    let mustFold = Atomic(true)
    /// Whether there are any, as far as is known.
    let storedAttributes: Atomic<Bool>

    /// How long a change that nobody waits for may stay in memory.
    private static let noteDelay = DispatchTimeInterval.milliseconds(200)

    /// Opens the journal, making it if there is none. A damaged one is moved aside.
    ///
    /// - Parameters:
    ///   - cache: Where it is; held as long as the journal lives.
    ///   - directory: One that each commit makes durable too.
    ///   - makeRoom: Frees so many bytes of a full disk, and says whether it did.
    ///   - boot: Names this start of the machine.
    ///   - logger: Told of damage and of what cannot be written.
    /// - Throws: If it cannot be opened or made, or is of a later version.
    init(
        in cache: CacheDirectory,
        syncing directory: FilePath,
        makeRoom: @escaping @Sendable (Int) -> Bool,
        boot: String = Journal.currentBoot(),
        logger: Logger
    ) throws(CacheDirectoryError) {
        self.cache = cache
        self.boot = boot
        self.makeRoom = makeRoom
        self.logger = logger
        let (database, start, wasDamaged) = try Self.open(cache, boot: boot, logger)
        self.database = database
        self.wasDamaged = wasDamaged
        self.initialRecords = start.records
        self.initialUploads = start.uploads
        self.firstMountTime = start.firstMountTime
        self.storedAttributes = Atomic(start.highestNumber != nil)
        self.firstFreeNumber = (start.highestNumber ?? 0) + 1
        do {
            self.directory = try FileDescriptor.open(
                directory,
                .readOnly,
                options: [.directory, .closeOnExec]
            )
        } catch {
            throw CacheDirectoryError(description: "cannot open \(directory): \(error)")
        }
        self.work = Mutex(Work(nextMove: start.lastMove + 1))
        self.thread.setSpecific(key: Self.threadKey, value: ObjectIdentifier(self))
        // What the last process took back may be in memory alone: nothing is to change before it is gone for good.
        let isSafe = self.write([], isSynced: true) == nil
        self.work.withLock { state in
            state.isUnsynced = !isSafe
            if !isSafe { state.withdrawals.count = 1 }
        }
    }

    deinit {
        try? self.directory.close()
    }

    /// The name of the machine's present start; empty if it cannot be told.
    static func currentBoot() -> String {
        guard let file = try? FileDescriptor.open("/proc/sys/kernel/random/boot_id", .readOnly) else {
            return ""
        }
        defer { try? file.close() }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = (try? bytes.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
        return String(decoding: bytes[..<count].filter { $0 > 0x20 }, as: UTF8.self)
    }

    private static func open(
        _ cache: CacheDirectory,
        boot: String,
        _ logger: Logger
    ) throws(CacheDirectoryError) -> (JournalDatabase, JournalDatabase.Start, wasDamaged: Bool) {
        let path = JournalDatabase.path(in: cache.path)
        var wasDamaged = false
        while true {
            do {
                let database = try JournalDatabase(path)
                return (database, try database.start(now: Int64(time(nil))), wasDamaged)
            } catch let error as JournalDatabase.LaterVersion {
                throw CacheDirectoryError(
                    description:
                        "\(path) is of a later version of tetherfs (\(error.version)); use that one, or "
                        + "choose another directory with --cache-dir"
                )
            } catch {
                guard !wasDamaged, JournalDatabase.isCorruption(error) else {
                    throw CacheDirectoryError(
                        description: "cannot use the journal \(path): \(JournalDatabase.errno(of: error)); "
                            + "choose another directory with --cache-dir"
                    )
                }
                wasDamaged = true
                let aside = try JournalDatabase.moveAside(path)
                logger.error(
                    "the journal is damaged; it is moved aside, and all unsent bytes are kept for tetherfs recover",
                    metadata: ["journal": "\(aside)", "cause": "\(error)"]
                )
            }
        }
    }

    // MARK: Queueing

    /// Queues changes that are written together or not at all.
    ///
    /// - Parameter body: Queues them, and waits for nothing.
    public func together(_ body: () -> Void) { self.grouping.withLock { _ in body() } }

    /// Queues a change.
    func queue(_ change: JournalChange) {
        self.work.withLock { state in
            switch change {
            case .move: state.pathChangeCount += 1
            default: break
            }
            state.queue.append(change)
            self.schedule(&state)
        }
    }

    /// Queues a new record for the path that `place` gives, which no move that is queued later knows another way.
    func queue(_ record: Record, at place: () -> RemotePath?) {
        var record = record
        while true {
            let moves = self.work.withLock(\.pathChangeCount)
            record.path = place()
            let isQueued = self.work.withLock { state in
                guard state.pathChangeCount == moves else { return false }
                state.queue.append(.record(record))
                self.schedule(&state)
                return true
            }
            if isQueued { return }
        }
    }

    /// Has something called on the journal's thread within 200 ms.
    func noteSoon(_ note: @escaping @Sendable () -> Void) {
        self.work.withLock { state in
            state.notes.append(note)
            guard state.notes.count == 1 else { return }
            self.thread.asyncAfter(deadline: .now() + Self.noteDelay) { [weak self] in self?.runNotes() }
        }
    }

    /// The records, as they are when all that was queued before is written.
    ///
    /// - Throws: Why they cannot be read.
    public func records() async throws(Errno) -> [Record] { try await self.read { try $0.records() } }

    // MARK: Waiting

    /// Makes everything that was queued before durable.
    ///
    /// - Throws: Why it is not: ENOSPC if the disk is full.
    public func commit() async throws(Errno) {
        let failure = await withCheckedContinuation { continuation in
            self.commit { continuation.resume(returning: $0) }
        }
        if let failure { throw failure }
    }

    /// As ``commit()``, blocking; not to be called on the journal's thread.
    func commitBlocking() throws(Errno) {
        let isDone = DispatchSemaphore(value: 0)
        let failure = Mutex<Errno?>(nil)
        self.commit { error in
            failure.withLock { $0 = error }
            isDone.signal()
        }
        isDone.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    private func commit(_ waiter: @escaping @Sendable (Errno?) -> Void) {
        self.work.withLock { state in
            state.waiters.append(waiter)
            self.schedule(&state)
        }
    }

    /// Waits until all that was queued before is written, if it can be: it survives the end of the process then.
    public func written() async {
        await withCheckedContinuation { continuation in
            self.thread.async {
                self.drain()
                continuation.resume()
            }
        }
    }

    /// Waits until all that was queued is written, if it can be.
    func finish() {
        if DispatchQueue.getSpecific(key: Self.threadKey) == ObjectIdentifier(self) { return self.drain() }
        self.thread.sync { self.drain() }
    }

    /// How many transactions were made durable, for tests.
    var syncedCommitCount: Int { self.syncedCommits.load(ordering: .relaxed) }

    /// How many extents were written, for tests.
    var writtenExtentCount: Int { self.writtenExtents.load(ordering: .relaxed) }

    /// What is queued by now takes back what it said was safe of a file: until that is durable, the next mount after a
    /// power failure would upload what is still there of it.
    ///
    /// - Returns: What to ask ``mayBringBack(_:)`` for.
    func withdraw() -> Int {
        self.work.withLock { state in
            state.withdrawals.count += 1
            return state.withdrawals.count
        }
    }

    /// Whether a power failure could bring back what was taken back by ``withdraw()``.
    func mayBringBack(_ withdrawal: Int) -> Bool {
        self.work.withLock { $0.withdrawals.syncedCount < withdrawal }
    }

    /// Whether a power failure could bring back what was promised of a file that was uploaded, or deleted, since.
    public var mayBringBack: Bool {
        self.work.withLock { $0.withdrawals.count != $0.withdrawals.syncedCount }
    }

    // MARK: On the journal's thread

    private func schedule(_ state: inout Work) {
        guard !state.isScheduled else { return }
        state.isScheduled = true
        self.thread.async { self.drain() }
    }

    private func runNotes() {
        let notes = self.work.withLock { state in
            defer { state.notes = [] }
            return state.notes
        }
        for note in notes { note() }
    }

    private func drain() {
        let (changes, waiters, isUnsynced, withdrawalCount) = self.grouping.withLock { _ in
            self.work.withLock { state in
                defer {
                    state.isScheduled = false
                    state.waiters = []
                }
                return (state.queue.take(), state.waiters, state.isUnsynced, state.withdrawals.count)
            }
        }
        let isAwaited = !waiters.isEmpty
        var failure: Errno?
        if !changes.isEmpty || isAwaited && isUnsynced {
            failure = self.write(changes, isSynced: isAwaited)
            if failure == .noSpace, self.makeRoom(1 << 20) {
                failure = self.write(changes, isSynced: isAwaited)
            }
            self.didWrite(changes, isSynced: isAwaited, failure)
        }
        // Also with nothing left to write: what is counted may have been written, and synced, before it was counted.
        if isAwaited, failure == nil {
            self.work.withLock { $0.withdrawals.syncedCount = withdrawalCount }
        }
        for waiter in waiters { waiter(failure) }
    }

    private func write(_ changes: [JournalChange], isSynced: Bool) -> Errno? {
        do {
            if isSynced, Glibc.fsync(self.directory.rawValue) != 0 { return Errno(rawValue: errno) }
            if isSynced, self.mustFold.load(ordering: .relaxed) {
                try self.database.fold()
                self.mustFold.store(false, ordering: .relaxed)
            }
            try self.database.write(changes, boot: self.boot, isSynced: isSynced)
            // Changes that are made are not made again: what fails here is tried again at the next ones.
            do { try self.database.shorten() } catch { self.noteLoss(error) }
            if isSynced { self.syncedCommits.wrappingAdd(1, ordering: .relaxed) }
            self.writtenExtents.wrappingAdd(changes.reduce(0) { $0 + $1.extentCount }, ordering: .relaxed)
            return nil
        } catch {
            self.noteLoss(error)
            return JournalDatabase.errno(of: error)
        }
    }

    private func noteLoss(_ error: any Error) {
        if JournalDatabase.isLoss(error) { self.mustFold.store(true, ordering: .relaxed) }
    }

    private func didWrite(_ changes: [JournalChange], isSynced: Bool, _ failure: Errno?) {
        let isNews = self.work.withLock { state in
            let wasFailing = state.isFailing
            state.isFailing = failure != nil
            if failure == nil {
                state.isUnsynced = !isSynced
            } else {
                // Nothing is dropped: the next change, commit or second tries again.
                state.queue.putBack(changes)
                self.retrySoon(&state)
            }
            return wasFailing != state.isFailing
        }
        guard isNews else { return }
        if let failure {
            self.logger.error("the journal cannot be written", metadata: ["cause": "\(failure)"])
        } else {
            self.logger.notice("the journal can be written again")
        }
    }

    private func retrySoon(_ state: inout Work) {
        guard !state.isRetrying else { return }
        state.isRetrying = true
        self.thread.asyncAfter(deadline: .now() + .seconds(1)) { [weak self] in
            self?.work.withLock { $0.isRetrying = false }
            self?.drain()
        }
    }

    func read<Value: Sendable>(
        _ body: @escaping @Sendable (JournalDatabase) throws -> Value
    ) async throws(Errno) -> Value {
        let result: Result<Value, Errno> = await withCheckedContinuation { continuation in
            self.thread.async {
                // What was queued before is part of the answer, also where it cannot be written.
                self.drain()
                let unwritten = self.work.withLock { $0.isFailing ? $0.queue.changes : [] }
                do {
                    let value = try self.database.read(after: unwritten, boot: self.boot) {
                        try body(self.database)
                    }
                    continuation.resume(returning: .success(value))
                } catch {
                    continuation.resume(returning: .failure(JournalDatabase.errno(of: error)))
                }
            }
        }
        return try result.get()
    }
}
