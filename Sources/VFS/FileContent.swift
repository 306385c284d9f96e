import BlockCaching
import Inodes
import Primitives
import Staging
import Synchronization
import SystemPackage

/// The bytes of one file that is open or has unsent bytes: all its handles share one of these.
final class FileContent: Sendable {
    struct State {
        /// Handles, and operations under way that need it to be the one content of its file.
        var useCount = 0
        /// Whether it keeps its node.
        var isPinned = false
        /// Handles open for reading.
        var readerCount = 0
        /// What was written here. Clean after an upload, when it still saves downloads.
        var staged: StagedFile?
        /// The version that the bytes missing from `staged` are read from.
        var base: FileVersion?
        /// What the file held when it was last emptied, with its own base, if a close or fsync had reported that as safe
        /// and the service does not have it yet. It goes with the next promise, or upload, of what is staged since.
        var former: (staged: StagedFile, base: FileVersion?)?
        /// Its name is about to go: who opens it now waits for how that ends.
        var isLeaving = false
        /// Its name is gone: reads and writes go on, nothing of it is uploaded.
        var isUnlinked = false
        /// Why the last upload failed, until one succeeds.
        var lastError: FileSystemError?
        /// Why bytes were given up, which no close or fsync was told yet.
        var untold: FileSystemError?
        /// Why the service refused an upload in the background, if no close or fsync was told yet, until one succeeds.
        var refusal: FileSystemError?
        /// How often what was written to it was given up, and why the last time. A handle from before is not written
        /// through any more: its program takes what it wrote for being there.
        var loss: (count: Int, error: FileSystemError) = (0, .stale)
        /// Whether the kernel may have pages of bytes that were given up, in whose place others are staged.
        var mayHavePagesOfLost = false
        /// Whether the last close or fsync could not make it durable.
        var isUnsaved = false
        /// Whether the call that makes an upload the file is on its way: it is not stopped then.
        var isCompleting = false
        /// The size in bytes of what the service may have, as the answer to that call was lost; nothing if it has not.
        var sizeInDoubt: UInt64? {
            didSet { self.bytesInDoubt = nil }
        }
        /// Which bytes that would be; nothing if there may be others of that size, or of others.
        private(set) var bytesInDoubt: StagedBytes?
        /// Whether the bytes were written before this mount began.
        var isRecovered = false
        /// How often writers outran uploads in the background, since one succeeded.
        var outrunCount = 0
        /// How many files in a row were replaced by a rename before they were uploaded, up to this one; counted anew once
        /// one was waited for.
        var replacedCount = 0

        /// Whether what is staged is the file, whatever the service has under its name: that is gone, or what its
        /// readers need was brought here since it is about to go.
        var isOnItsOwn: Bool { self.isUnlinked || self.isLeaving && self.readerCount > 0 }

        /// Whether the service may have an upload of other bytes than these, so that a size tells nothing of theirs.
        func doubtsOthers(than bytes: StagedBytes) -> Bool {
            self.sizeInDoubt != nil && self.bytesInDoubt?.isSame(as: bytes) != true
        }

        /// The service may have an upload of these bytes, as the answer to its last call was lost.
        mutating func doubt(_ bytes: StagedBytes) {
            let isOther = self.doubtsOthers(than: bytes)
            self.sizeInDoubt = bytes.snapshot.size
            if !isOther { self.bytesInDoubt = bytes }
        }

        /// All that waits here, the older one first.
        var waiting: [StagedFile] { [self.former?.staged, self.staged].compactMap(\.self) }

        /// Nothing that waits here is wanted by anybody any more.
        mutating func discard() {
            self.discardFormer()
            self.staged?.discard()
        }

        /// The service has what was promised before, as it was when its upload began: what was written to it then, before
        /// the file was emptied, stays if it was promised as well.
        mutating func keepFormer(over version: FileVersion) {
            guard let former = self.former?.staged, former.holdsPromise else { return self.discardFormer() }
            self.former = (former, version)
        }

        /// Something newer than what was promised before is promised, or on the service.
        mutating func discardFormer() {
            self.former?.staged.discard()
            self.former = nil
        }
    }

    let inode: InodeNumber
    let state = Mutex(State())
    /// Held alone by whoever uploads, renames or unlinks the file.
    let transfer = AsyncGate()
    /// Shared by writers for the time of a write; held alone by an upload that writers have outrun before.
    let writers = AsyncGate()
    /// Held alone by a write, or a cut, that has to wait, in the order in which they came: the kernel sends the next one
    /// also where a signal has ended the wait for one.
    let laterWrites = AsyncGate()
    /// Writes that are not among its bytes yet.
    let pendingWrites = PendingWrites()
    /// What goes up of it while it is written.
    let early = EarlyUploads()
    /// How far its upload is.
    let progress = UploadProgress()

    init(_ inode: InodeNumber) {
        self.inode = inode
    }

    var staged: StagedFile? { self.state.withLock { $0.staged } }

    /// What was promised of the file before it was emptied: see ``State/former``.
    var former: StagedFile? { self.state.withLock { $0.former?.staged } }

    /// All that waits here, the older one first.
    var waiting: [StagedFile] { self.state.withLock(\.waiting) }

    var isDirty: Bool { self.state.withLock { $0.staged?.isDirty == true && !$0.isUnlinked } }

    /// Whether a close or fsync covers all that waits here.
    var isCovered: Bool {
        if self.state.withLock({ $0.isUnsaved }) { return false }
        return switch self.staged?.stage {
        case .open, .failed, nil: false
        case .pending, .uploading, .unverified, .kept: true
        }
    }

    /// As ``isCovered``, and what that says is on the disk for good, so that a close has nothing to wait for.
    var isSafe: Bool { self.isCovered && self.staged?.isBeingPromised == false }

    var isUnlinked: Bool { self.state.withLock { $0.isUnlinked } }

    var isOnItsOwn: Bool { self.state.withLock { $0.isOnItsOwn } }

    /// The service has a file of so many bytes: if it was in doubt whether that was done, that is what is replaced now.
    ///
    /// - Returns: Whether it was.
    func wasInDoubt(of size: UInt64) -> Bool {
        self.state.withLock { state in
            guard state.sizeInDoubt == size else { return false }
            for staged in state.waiting { staged.setBase(size: size) }
            return true
        }
    }

    var hasReaders: Bool { self.state.withLock { $0.readerCount > 0 } }

    /// The staged file if it holds what the file is now: it is dirty, or the service has no newer version.
    ///
    /// What the caller knows may be older than the base by now, so that only a newer version lets the staged file go.
    func currentStaged(known: FileVersion?) -> (file: StagedFile, base: FileVersion?)? {
        let (staged, base, isPast): (StagedFile?, FileVersion?, Bool) = self.state.withLock { state in
            guard let staged = state.staged else { return (nil, nil, false) }
            if !staged.isDirty, !state.isOnItsOwn, let known, let base = state.base,
                known.content.rawValue > base.content.rawValue
            {
                state.staged = nil
                state.base = nil
                return (staged, nil, true)
            }
            return (staged, state.base, false)
        }
        // Held until here: its local file goes with it, for which nobody who asks for the state is to wait.
        return withExtendedLifetime(staged) { isPast ? nil : staged.map { (file: $0, base: base) } }
    }

    /// The call that makes an upload the file is sent next, unless the upload was stopped before.
    ///
    /// - Parameter isStopped: Whether it was, asked while nobody can stop it.
    /// - Returns: Whether it is to be sent.
    func beginCompleting(unless isStopped: () -> Bool) -> Bool {
        self.state.withLock { state in
            guard !isStopped() else { return false }
            state.isCompleting = true
            return true
        }
    }

    /// Whether there is something that no close or fsync was told yet.
    var hasUntold: Bool { self.state.withLock { $0.untold != nil || $0.refusal != nil } }

    /// Takes the failure that no close or fsync was told yet.
    func takeUntold() -> FileSystemError? {
        self.state.withLock { state in
            defer { (state.untold, state.refusal) = (nil, nil) }
            return state.untold ?? state.refusal
        }
    }

    /// Whether the kernel may have pages of bytes that were given up; asked by who sees to it that it drops them.
    func takePagesOfLost() -> Bool {
        self.state.withLock { state in
            defer { state.mayHavePagesOfLost = false }
            return state.mayHavePagesOfLost
        }
    }

    /// Counts a handle that is being opened.
    ///
    /// - Returns: How often what was written to the file was given up by then; nothing while its name is about to go,
    ///   when nobody may open it.
    func admit(_ mode: OpenMode) -> Int? {
        self.state.withLock { state in
            guard !state.isLeaving else { return nil }
            if mode.reads { state.readerCount += 1 }
            return state.loss.count
        }
    }

    /// Nobody opens the file from now on, as its name is about to go; the caller holds `transfer`.
    ///
    /// - Parameter isLost: Whether what is not here cannot be had any more.
    /// - Returns: `false` if somebody reads it and not all of it is here that can be.
    func beginLeaving(isLost: Bool = false) -> Bool {
        self.state.withLock { state in
            guard isLost || state.readerCount == 0 || state.staged?.isWhole == true else { return false }
            state.isLeaving = true
            return true
        }
    }

    /// Ends ``beginLeaving()``; who has the file open goes on with what is here of it if its name is gone.
    func endLeaving(isGone: Bool) {
        self.state.withLock { state in
            state.isLeaving = false
            guard isGone else { return }
            state.isUnlinked = true
            state.discard()
        }
    }

    /// Whether a handle can be had although the name is gone.
    func outlivesItsName(for mode: OpenMode) -> Bool {
        self.state.withLock { $0.isUnlinked && (!mode.reads || $0.staged?.isWhole == true) }
    }
}

/// What is here of a staged file at one moment.
struct StagedBytes {
    /// Not kept by this.
    private weak var staged: StagedFile?
    let snapshot: StagedFile.Snapshot

    init(_ staged: StagedFile, _ snapshot: StagedFile.Snapshot) {
        self.staged = staged
        self.snapshot = snapshot
    }

    func isSame(as other: StagedBytes) -> Bool {
        self.staged != nil && self.staged === other.staged && self.snapshot == other.snapshot
    }
}

/// One open(2) of a file.
public final class FileHandle: Sendable {
    struct Writers {
        /// Processes that wrote through this handle since it was last flushed; 0 stands for an unknown one (mmap).
        private(set) var processes: Set<Int32> = []
        /// Counts up with each write.
        private(set) var changeCount = 0

        /// A process wrote.
        mutating func insert(_ process: Int32) {
            self.processes.insert(process)
            self.changeCount += 1
        }

        /// All that was written by then is where it should be; a process that wrote since has still to flush it.
        mutating func removeAll(asOf changeCount: Int) {
            if self.changeCount == changeCount { self.processes = [] }
        }
    }

    let content: FileContent
    /// How often what was written to the file had been given up when it was opened.
    private let lossCount: Int
    /// The process that opened it; 0 if it is not known.
    let opener: Int32
    let isReadable: Bool
    let isWritable: Bool
    let writers = Mutex(Writers())
    let reader: BlockReader
    /// Whether anything was read through it that the service has, or tried to.
    private let wasRead = Atomic(false)

    /// Takes a content that is in use for it (``FileSystem/use(_:)``); nothing while its file's name is about to go.
    init?(_ content: FileContent, _ mode: OpenMode, opener: Int32, reader: BlockReader) {
        guard let lossCount = content.admit(mode) else { return nil }
        self.content = content
        self.lossCount = lossCount
        self.reader = reader
        self.opener = opener
        self.isReadable = mode.reads
        self.isWritable = mode.writes
    }

    /// Throws why what was written to the file since it was opened was given up, if it was.
    func checkLoss() throws(FileSystemError) {
        let loss = self.content.state.withLock(\.loss)
        if loss.count != self.lossCount { throw loss.error }
    }

    /// Whether what was written to the file since it was opened was given up.
    var isLost: Bool { self.content.state.withLock(\.loss.count) != self.lossCount }

    /// Whether nothing was read through it.
    var isUnread: Bool { !self.wasRead.load(ordering: .relaxed) }

    /// Notes a read.
    ///
    /// - Returns: Whether it is the first.
    func noteRead() -> Bool {
        self.isUnread && !self.wasRead.exchange(true, ordering: .relaxed)
    }
}

/// One opendir(3); the directory's names stay in memory until it is closed.
public final class DirectoryHandle: Sendable {
    let inode: InodeNumber
    /// What the directory held when it was read from the start: an offset is an index into it, so that names that come
    /// and go meanwhile neither repeat nor hide others.
    let snapshot = Mutex<DirectorySnapshot?>(nil)

    init(_ inode: InodeNumber) {
        self.inode = inode
    }
}
