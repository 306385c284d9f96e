import Glibc
import Synchronization
import SystemPackage
import WireFormat

/// What the journal knows of a staged file, and when.
extension StagedFile {
    /// How far its bytes are on their way to the service; nothing while it is clean.
    public var stage: Journal.State? { self.state.withLock { $0.stage } }

    /// The size in bytes of what its upload replaces on the service; nothing if nothing is there.
    public var baseSize: UInt64? { self.state.withLock { $0.baseSize } }

    /// Says what its upload replaces.
    ///
    /// - Parameter size: Its size in bytes; nothing if nothing is there.
    public func setBase(size: UInt64?) {
        self.state.withLock { state in
            guard state.baseSize != size else { return }
            state.baseSize = size
            if state.isDirty { self.record(state) }
        }
    }

    /// Says who knows where it is when it next becomes dirty, in place of whom the store was told.
    public func follow(_ place: @escaping @Sendable () -> RemotePath?) {
        self.state.withLock { $0.place = place }
    }

    /// All that is here is to be uploaded: a close or fsync covers it. Queued, not waited for.
    public func recordPending() {
        self.state.withLock { state in
            guard state.isDirty else { return }
            if state.stage == .open || state.stage == .failed { state.stage = .pending }
            self.record(state)
        }
    }

    /// Makes all that is here at this moment durable on the local disk, as bytes that are to be uploaded: they are
    /// there after a crash and after a power failure.
    ///
    /// What is changed meanwhile is not covered; the file is `open` then.
    ///
    /// - Throws: The local disk's error: ENOSPC if it is full. After an error of fsync(2) every later call fails.
    public func makeDurable() async throws(Errno) {
        let before: (content: Journal.Content, changeCount: UInt64)? =
            try self.withState { state throws(Errno) in
                if let failure = state.syncFailure { throw failure }
                return state.isDirty ? (state.content, state.changeCount) : nil
            }
        guard let before else { return }
        if let failure = await self.store.sync(self) {
            self.state.withLock { $0.syncFailure = failure }
            throw failure
        }
        self.state.withLock { state in
            guard state.isDirty else { return }
            state.synced = before.content.clipped(to: state.size)
            state.isPromised = true
            if state.changeCount == before.changeCount, state.stage == .open || state.stage == .failed {
                state.stage = .pending
            }
            self.record(state)
        }
        try await self.store.journal.commit()
    }

    // MARK: Uploads

    /// An upload of exactly what was here at a snapshot has begun, with which a later mount can go on.
    ///
    /// - Parameters:
    ///   - id: The server's name for it.
    ///   - partSize: The length of its parts in bytes, but for the last one.
    ///   - sentParts: Which have arrived already, counted from 0.
    ///   - snapshot: What it sends.
    /// - Returns: Whether the file is still the same, and covered by a close or fsync; else nothing is noted.
    @discardableResult
    public func beginUpload(
        _ id: UploadID,
        partSize: UInt64,
        sentParts: Set<Int> = [],
        of snapshot: Snapshot
    ) -> Bool {
        self.state.withLock { state in
            guard state.isDirty, state.stage != .open, state.changeCount == snapshot.changeCount else {
                return false
            }
            state.upload = id
            state.stage = .uploading
            self.record(state)
            self.store.journal.queue(
                .beginUpload(self.name.number, Journal.Upload(id: id, partSize: partSize))
            )
            for part in sentParts { self.store.journal.queue(.sentPart(self.name.number, id, part)) }
            return true
        }
    }

    /// A part of the upload has arrived.
    public func didSend(part: Int, of id: UploadID) {
        self.store.journal.queue(.sentPart(self.name.number, id, part))
    }

    /// All parts of the upload have arrived; what makes them the file is sent next.
    public func willComplete(_ id: UploadID) {
        self.state.withLock { state in
            guard state.upload == id, state.stage == .uploading else { return }
            state.stage = .unverified
            self.record(state)
        }
    }

    /// The upload is not gone on with. Queued, not waited for.
    public func endUpload() {
        self.state.withLock { state in
            guard state.upload != nil else { return }
            self.forgetUpload(&state)
            if state.stage == .uploading || state.stage == .unverified { state.stage = .pending }
            self.record(state)
        }
    }

    /// Takes an upload out of the journal, durably, so that nothing of it is mixed with what is written after this.
    ///
    /// Who does not call it before a change has the change wait for the disk, blocking.
    ///
    /// - Throws: Why the journal cannot be written: nothing may be changed then.
    public func prepareToChange() async throws(Errno) {
        guard let upload = self.state.withLock({ $0.upload }) else { return }
        self.store.journal.queue(.endUpload(self.name.number))
        try await self.store.journal.commit()
        self.didEnd(upload)
    }

    /// Whether ``prepareToChange()`` has something to wait for.
    public var hasUpload: Bool { self.state.withLock { $0.upload != nil } }

    /// The upload was refused; it is tried again at the next close, fsync, unmount or mount. Its bytes are made durable
    /// some time later.
    ///
    /// - Parameter reason: Why, for a person.
    public func recordFailed(_ reason: String) {
        self.state.withLock { state in
            guard state.isDirty else { return }
            self.forgetUpload(&state)
            if state.stage != .open { state.stage = .failed }
            state.reason = reason
            self.record(state)
        }
        self.store.syncSoon(self)
    }

    /// The call is sent next that makes an upload the file on the service: from now on the file there may be that one,
    /// also if this one is changed before the answer comes. A later mount knows when this returns.
    ///
    /// - Parameter size: The upload's size in bytes.
    public func willReplace(size: UInt64) async {
        self.state.withLock { state in
            state.completingSize = size
            if state.isDirty { self.record(state) }
        }
        await self.store.journal.written()
    }

    /// The service has what was here at a snapshot.
    ///
    /// - Returns: Whether nothing was changed since, so that no bytes wait here any more.
    public func didUpload(_ snapshot: Snapshot) -> Bool {
        self.state.withLock { state in
            state.baseSize = snapshot.size
            state.completingSize = nil
            guard state.isDirty else { return state.changeCount == snapshot.changeCount }
            guard state.changeCount == snapshot.changeCount else {
                // What was safe here is safe there, unless a later close or fsync came meanwhile.
                if state.syncedCount <= snapshot.changeCount {
                    state.synced = nil
                    state.isPromised = false
                }
                self.record(state)
                return false
            }
            self.becomeClean(&state)
            return true
        }
    }

    /// There is no place on the service where the bytes could go: they are put where a person finds them.
    ///
    /// - Parameter reason: Why, for that person.
    /// - Returns: The file that holds them.
    public func keepForRecovery(_ reason: String = "its place is gone from the server") -> String {
        self.state.withLock { state in
            guard state.isDirty else { return "" }
            state.stage = .kept
            state.reason = reason
            self.forgetUpload(&state)
            let kept = self.store.keep(self.name.dirty)
            self.record(state)
            state.stage = nil
            return kept
        }
    }

    /// The bytes here are not wanted by anybody any more: nothing of them is kept for recovery.
    public func discard() {
        self.state.withLock { state in
            if state.isDirty { self.becomeClean(&state) }
        }
    }

    /// Brings what is here to the disk, blocking, for later mounts to find it there.
    func syncNow() {
        let before = self.state.withLock { state in
            state.isDirty && state.syncFailure == nil
                ? (content: state.content, count: state.changeCount) : nil
        }
        guard let before else { return }
        let failure = self.sync()
        self.state.withLock { state in
            state.syncFailure = failure
            guard failure == nil, state.isDirty, state.changeCount == before.count else { return }
            state.synced = before.content
            self.record(state)
        }
    }

    /// Brings the local file to the disk, blocking.
    ///
    /// - Returns: Why it is not there.
    func sync() -> Errno? {
        do throws(Errno) {
            let descriptor = try self.duplicate()
            defer { try? descriptor.close() }
            return fdatasync(descriptor.rawValue) == 0 ? nil : Errno(rawValue: errno)
        } catch {
            return error
        }
    }

    // MARK: Within the lock

    /// Notes that bytes are about to change: the name on disk says first that there is something to keep.
    func willChange(_ state: inout State) throws(Errno) {
        guard state.isDirty else {
            try self.store.markDirty(self.name)
            state.stage = .open
            state.time = Int64(Glibc.time(nil))
            self.store.journal.queue(self.makeRecord(state), at: state.place)
            return self.noteSoon(&state)
        }
        if state.stage != .open {
            state.stage = .open
            state.reason = nil
            self.record(state)
        }
        self.noteSoon(&state)
    }

    /// Has the journal's thread ask what has changed, some time after the first change that it does not know.
    private func noteSoon(_ state: inout State) {
        guard !state.isNoted else { return }
        state.isNoted = true
        self.store.journal.noteSoon { [weak self] in
            self?.state.withLock { state in
                state.isNoted = false
                if state.isDirty { self?.record(state) }
            }
        }
    }

    func record(_ state: State) { self.store.journal.queue(.record(self.makeRecord(state))) }

    private func makeRecord(_ state: State) -> Journal.Record {
        Journal.Record(
            number: self.name.number,
            path: nil,
            state: state.stage ?? .open,
            content: state.content,
            synced: state.synced,
            isPromised: state.isPromised,
            baseSize: state.baseSize,
            completingSize: state.completingSize,
            upload: nil,
            reason: state.reason,
            time: state.time
        )
    }

    private func becomeClean(_ state: inout State) {
        self.store.markClean(self.name)
        self.store.journal.queue(.removeRecord(self.name.number))
        state.stage = nil
        state.synced = nil
        state.isPromised = false
        state.completingSize = nil
        state.reason = nil
        state.upload = nil
    }

    private func forgetUpload(_ state: inout State) {
        guard state.upload != nil else { return }
        self.store.journal.queue(.endUpload(self.name.number))
        state.upload = nil
    }

    /// An upload is out of the journal.
    func didEnd(_ upload: UploadID) {
        self.state.withLock { state in
            guard state.upload == upload else { return }
            state.upload = nil
        }
    }
}
