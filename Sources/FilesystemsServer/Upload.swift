import Synchronization
import WireFormat

/// One upload under way: which bytes have arrived, and who is writing more of them.
final class Upload: Sendable {
    /// Its name on the wire and of its staged file.
    let id: UploadID
    /// The filesystem that the file is for.
    let filesystem: FilesystemID
    /// The id of the user whose filesystem it is.
    let owner: String
    /// Where the file goes.
    let path: RemotePath
    /// Of the file, in bytes.
    let size: UInt64

    private let state: Mutex<State>

    private struct State {
        var received: ByteRanges
        var phase = Phase.open
        /// Writes under way this moment, which end in milliseconds.
        var writerCount = 0
        /// Parts whose bodies are arriving.
        var partCount = 0
        var lastUse: ContinuousClock.Instant
        /// Waits until no write is under way; set only while the phase is not `open`.
        var drained: CheckedContinuation<Void, Never>?
        var completion: Task<Void, any Error>?
    }

    private enum Phase {
        case open
        case finishing
        case gone
    }

    /// Takes up an upload.
    ///
    /// - Parameters:
    ///   - id: Its name.
    ///   - filesystem: Where the file goes.
    ///   - owner: Of the filesystem.
    ///   - journal: Path, size, and what has been received.
    ///   - lastUse: By a clock that nobody sets: an upload is not old because the machine's clock was wrong.
    init(
        id: UploadID,
        filesystem: FilesystemID,
        owner: String,
        journal: UploadJournal,
        lastUse: ContinuousClock.Instant
    ) {
        self.id = id
        self.filesystem = filesystem
        self.owner = owner
        self.path = journal.path
        self.size = journal.size
        self.state = Mutex(State(received: journal.received, lastUse: lastUse))
    }

    // MARK: Parts

    /// A part begins to arrive; `partEnded` follows.
    func partBegan(_ range: Range<UInt64>) throws(UploadError) {
        guard range.upperBound <= self.size else { throw .outsideFile(size: self.size) }
        try self.state.withLock { state throws(UploadError) in
            try Self.checkOpen(state.phase)
            state.partCount += 1
            state.lastUse = .now
        }
    }

    /// A part has arrived, or broke off.
    func partEnded() {
        self.state.withLock { state in
            state.partCount -= 1
            state.lastUse = .now
        }
    }

    /// Writes bytes of a part, unless the upload is being completed: the finished file must not change.
    func writing(_ write: () throws -> Void) throws {
        try self.state.withLock { state throws(UploadError) in
            try Self.checkOpen(state.phase)
            state.writerCount += 1
        }
        defer {
            let waiter = self.state.withLock { state in
                state.writerCount -= 1
                guard state.writerCount == 0 else { return nil as CheckedContinuation<Void, Never>? }
                defer { state.drained = nil }
                return state.drained
            }
            waiter?.resume()
        }
        try write()
    }

    /// Forgets bytes that are about to be overwritten: should the part break off, they are a mixture.
    ///
    /// - Returns: Whether any of them had been received.
    func forget(_ range: Range<UInt64>) -> Bool {
        self.state.withLock { state in
            guard state.received.overlaps(range) else { return false }
            state.received.remove(range)
            return true
        }
    }

    /// Counts the bytes of a whole part as received.
    func insert(_ range: Range<UInt64>) {
        self.state.withLock { $0.received.insert(range) }
    }

    // MARK: Its end

    /// Completes the upload, or joins the completion that is under way.
    ///
    /// - Parameter commit: Puts the file in place; called at most once at a time, with no write under way.
    /// - Throws: `UploadError`, or what `commit` threw; the upload is as it was then, unless ``spoil()`` was called.
    func complete(_ commit: @escaping @Sendable () async throws -> Void) async throws {
        let completion = try self.state.withLock { state throws(UploadError) in
            if let running = state.completion { return running }
            try Self.checkOpen(state.phase)
            if let gap = state.received.firstGap(below: self.size) { throw .incomplete(gap: gap) }
            state.phase = .finishing
            // A task of its own: a client that hangs up does not stop half-way what it asked for.
            let task = Task {
                do {
                    await self.drain()
                    try await commit()
                    self.state.withLock { $0.phase = .gone }
                } catch {
                    self.state.withLock { state in
                        if state.phase == .finishing { state.phase = .open }
                        state.completion = nil
                    }
                    throw error
                }
            }
            state.completion = task
            return task
        }
        try await completion.value
    }

    /// Its bytes may be lost although they arrived: called while it is completed, ends it for good.
    func spoil() { self.state.withLock { $0.phase = .gone } }

    /// Ends the upload for good and waits for the writes under way.
    func abandon() async throws(UploadError) {
        try self.state.withLock { state throws(UploadError) in
            try Self.checkOpen(state.phase)
            state.phase = .gone
        }
        await self.drain()
    }

    /// Ends the upload for good, if nobody has used it since a time, and nobody is.
    ///
    /// - Returns: Whether it was ended.
    func abandon(ifUnusedSince limit: ContinuousClock.Instant) -> Bool {
        self.state.withLock { state in
            guard state.phase == .open, state.partCount == 0, state.lastUse < limit else { return false }
            state.phase = .gone
            return true
        }
    }

    private func drain() async {
        await withCheckedContinuation { continuation in
            let isDrained = self.state.withLock { state in
                if state.writerCount > 0 { state.drained = continuation }
                return state.writerCount == 0
            }
            if isDrained { continuation.resume() }
        }
    }

    private static func checkOpen(_ phase: Phase) throws(UploadError) {
        switch phase {
        case .open: return
        case .finishing: throw .finishing
        case .gone: throw .unknown
        }
    }
}
