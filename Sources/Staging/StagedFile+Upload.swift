import SystemPackage
import WireFormat

/// How far the uploads of a staged file are, and what they replace.
extension StagedFile {
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
            let isSynced = state.synced != nil && state.syncedCount == state.changeCount
            let upload = Journal.Upload(id: id, partSize: partSize, isSynced: isSynced)
            self.store.journal.queue(.beginUpload(self.number, upload))
            for part in sentParts { self.store.journal.queue(.sentPart(self.number, id, part)) }
            return true
        }
    }

    /// A part of the upload has arrived.
    public func didSend(part: Int, of id: UploadID) {
        self.store.journal.queue(.sentPart(self.number, id, part))
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

    /// Takes an upload out of the journal, durably, and what was safe here before one, so that nothing of it is mixed with
    /// what is written after this; and has the journal know of a cut before it is made, so that no byte is said to be here that was cut away.
    ///
    /// Who does not call it before a change has the change wait for the disk, blocking.
    ///
    /// - Parameter size: To how many bytes the file is about to be cut; nothing if it is not.
    /// - Throws: Why the journal cannot be written: nothing may be changed then.
    public func prepareToChange(cuttingTo size: UInt64? = nil) async throws(Errno) {
        if let upload = self.state.withLock({ $0.upload }) {
            self.store.journal.queue(.endUpload(self.number))
            try await self.store.journal.commit()
            self.didEnd(upload)
        } else if self.state.withLock({ self.mayComeBack(&$0) }) {
            try await self.store.journal.commit()
        }
        guard let size else { return }
        let isCut = self.state.withLock { state in
            // Of a file that is all here its length says enough.
            guard state.isDirty, !state.isWhole, size < state.size else { return false }
            state.cutSize = min(size, state.cutSize ?? size)
            self.record(state)
            return true
        }
        if isCut { await self.store.journal.written() }
    }

    /// The cut that ``prepareToChange(cuttingTo:)`` told of was not made.
    public func cancelCut() {
        self.state.withLock { state in
            guard state.cutSize != nil else { return }
            state.cutSize = nil
            self.record(state)
        }
    }

    /// The upload that ``prepareToChange(cuttingTo:)`` has to take out of the journal; nothing if there is none.
    public var upload: UploadID? { self.state.withLock(\.upload) }

    /// Whether a range can be written without waiting for the journal, before or after, or for other bytes: see
    /// ``prepareToChange(cuttingTo:)``, ``didChange()`` and ``gapsToFill``.
    public func takesQuickly(_ range: Range<UInt64>) -> Bool {
        self.state.withLock { state in
            guard state.upload == nil, !self.mayComeBack(&state) else { return false }
            let isRoom = state.extents.extents.count < self.store.extentLimit
            if isRoom, !state.holdsPromise || state.isWhole { return true }
            return state.extents.pieces(of: range).allSatisfy(\.isHere)
        }
    }

    /// Waits until the journal knows of what was changed, where what was reported as safe would be mixed up with it
    /// otherwise: in a file of which some bytes are on the service alone.
    public func didChange() async {
        let isMixed = self.state.withLock { state in
            guard state.holdsPromise, !state.isWhole || !state.grown.extents.isEmpty else { return false }
            self.recordGrowth(&state)
            return true
        }
        if isMixed { await self.store.journal.written() }
    }

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
    /// also if this one is changed before the answer comes. Queued, not waited for.
    ///
    /// - Parameter size: The upload's size in bytes.
    public func willReplace(size: UInt64) {
        self.state.withLock { state in
            state.completingSize = size
            self.record(state)
        }
    }

    /// Another upload than one of this file has become the file that it replaces.
    ///
    /// - Parameter size: That upload's size in bytes.
    public func didReplace(size: UInt64) {
        self.state.withLock { state in
            state.baseSize = size
            state.replacesUnknown = false
            state.completingSize = nil
            self.record(state)
        }
    }

    /// It got another name, under which the service has nothing.
    public func replacesNothing() {
        self.state.withLock { state in
            guard state.baseSize != nil || state.replacesUnknown || state.completingSize != nil else {
                return
            }
            state.baseSize = nil
            state.replacesUnknown = false
            state.completingSize = nil
            self.record(state)
        }
    }

    /// The file that it replaces is about to be deleted: a later mount takes it for a new one if it is gone by then.
    /// Queued, not waited for.
    ///
    /// - Parameter isInDoubt: Whether it may be an upload of this one, as that one's last answer was lost.
    /// - Returns: What to call if it was not deleted.
    public func willLoseBase(isInDoubt: Bool) -> @Sendable () -> Void {
        self.endUpload()
        return self.state.withLock { state in
            guard state.isDirty, !isInDoubt, let base = state.baseSize else { return {} }
            state.baseSize = nil
            state.completingSize = base
            self.record(state)
            return { [weak self] in self?.didReplace(size: base) }
        }
    }

    /// It replaces on the service what another file replaces that was staged before it for the same name.
    public func inherit(from former: StagedFile) {
        let before = former.state.withLock { ($0.baseSize, $0.replacesUnknown, $0.completingSize) }
        self.state.withLock { state in
            (state.baseSize, state.replacesUnknown, state.completingSize) = before
            self.record(state)
        }
    }

    /// No later mount is to find it, as its name stands for another file by the time that this is written. It has still
    /// to be discarded.
    public func leaveJournal() {
        self.state.withLock { state in
            guard state.isDirty else { return }
            self.removeRecord(&state)
            // It counts once as what a power failure could bring back.
            state.synced = nil
        }
    }

    /// The service has what was here at a snapshot.
    ///
    /// - Returns: Whether nothing was changed since, so that no bytes wait here any more; and whether other bytes than
    ///   those were safe here, which a power failure could bring back over them until the journal is committed.
    public func didUpload(_ snapshot: Snapshot) -> (isAll: Bool, othersMayComeBack: Bool) {
        self.state.withLock { state in
            let isOlder = state.synced != nil && state.syncedCount < snapshot.changeCount
            state.baseSize = snapshot.size
            state.replacesUnknown = false
            state.completingSize = nil
            state.uploadedCount = snapshot.changeCount
            guard state.isDirty else { return (state.changeCount == snapshot.changeCount, false) }
            guard state.changeCount == snapshot.changeCount else {
                // What was safe here is safe there, unless a later close or fsync came meanwhile.
                guard state.syncedCount <= snapshot.changeCount else {
                    self.record(state)
                    return (false, false)
                }
                let wasSynced = state.synced != nil
                state.synced = nil
                state.isPromised = false
                self.record(state)
                if wasSynced { state.withdrawal = self.store.journal.withdraw() }
                return (false, wasSynced)
            }
            self.becomeClean(&state)
            return (true, isOlder)
        }
    }
}
