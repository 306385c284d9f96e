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

    /// Whether its upload replaces a file of which no size is known, whatever that is.
    public var replacesUnknown: Bool { self.state.withLock { $0.replacesUnknown } }

    /// Says what its upload replaces.
    ///
    /// - Parameters:
    ///   - size: Its size in bytes; nothing if nothing is there, or that is not known.
    ///   - isUnknown: Whether something is there and its size is not known.
    public func setBase(size: UInt64?, isUnknown: Bool = false) {
        self.state.withLock { state in
            guard state.baseSize != size || state.replacesUnknown != isUnknown else { return }
            state.baseSize = size
            state.replacesUnknown = isUnknown
            self.record(state)
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
        if let failure = await self.store.sync(self) { throw failure }
        let wasPromised = self.state.withLock { state in
            let wasPromised = state.isPromised
            // What was uploaded meanwhile is safe there, and what came after it is not promised by this.
            guard state.isDirty, state.uploadedCount.map({ $0 < before.changeCount }) ?? true else {
                return wasPromised
            }
            // One that began later may have come to its end before.
            if !wasPromised || state.syncedCount <= before.changeCount {
                state.synced = before.content.clipped(to: state.size)
                state.syncedCount = before.changeCount
                state.isPromised = true
            }
            if state.changeCount == before.changeCount, state.stage == .open || state.stage == .failed {
                state.stage = .pending
            }
            self.record(state)
            return wasPromised
        }
        do throws(Errno) {
            try await self.store.journal.commit()
        } catch {
            self.state.withLock { state in
                guard state.isDirty, !wasPromised, state.syncedCount == before.changeCount else { return }
                state.isPromised = false
                self.record(state)
            }
            throw error
        }
        self.state.withLock { state in
            guard state.isPromised, state.syncedCount >= before.changeCount else { return }
            state.confirmedCount = max(before.changeCount, state.confirmedCount ?? 0)
        }
    }

    /// Waits until what was promised is in the journal for good, where that was begun only.
    ///
    /// - Throws: Why it is not: ENOSPC if the disk is full.
    public func confirmPromise() async throws(Errno) {
        if self.isBeingPromised { try await self.store.journal.commit() }
    }

    /// Whether bytes are reported as safe that the journal does not have for good yet.
    public var isBeingPromised: Bool {
        self.state.withLock { state in
            state.holdsPromise && state.confirmedCount.map { $0 < state.syncedCount } ?? true
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
            // A cut that waits is not made any more.
            state.cutSize = nil
            state.isKept = true
            self.forgetUpload(&state)
            let kept = self.store.keep(state.name.dirty)
            self.record(state)
            state.stage = nil
            return kept
        }
    }

    /// The bytes here, and those that may still be written, are not wanted by anybody who comes later: nothing of them is
    /// kept for recovery.
    public func discard() {
        self.state.withLock { state in
            state.isAbandoned = true
            if state.isDirty { self.becomeClean(&state) }
        }
    }

    /// Brings what is here to the disk, blocking, for later mounts to find it there.
    func syncNow() {
        let before = self.state.withLock { state in
            state.isDirty && state.syncFailure == nil
                ? (content: state.content, count: state.changeCount) : nil
        }
        guard let before, self.sync() == nil else { return }
        self.state.withLock { state in
            guard state.isDirty, state.changeCount == before.count else { return }
            state.synced = before.content
            state.syncedCount = before.count
            self.record(state)
        }
    }

    /// Brings the local file to the disk, blocking; one call at a time.
    ///
    /// - Returns: Why it is not there, also where the disk said so before: Linux tells it to one call alone.
    func sync() -> Errno? {
        do throws(Errno) {
            let descriptor = try self.duplicate()
            defer { try? descriptor.close() }
            let failure = self.store.syncFile(descriptor.rawValue) == 0 ? nil : Errno(rawValue: errno)
            return self.state.withLock { state in
                state.syncFailure = state.syncFailure ?? failure
                return state.syncFailure
            }
        } catch {
            return error
        }
    }

    /// Why the local disk may not have what was written here; nothing if it never said so.
    ///
    /// Linux drops pages that it could not write back, and reads them anew from the disk, as zeros or what was there
    /// before. It says so to who waits for any range to be written back (sync_file_range(2)): one behind the file's end takes
    /// no time.
    public func diskFailure() -> Errno? {
        self.state.withLock { state in
            if state.syncFailure != nil { return state.syncFailure }
            do throws(Errno) {
                let descriptor = try self.open(&state)
                guard self.store.checkFile(descriptor.rawValue) != 0 else { return nil }
                let failure = errno
                // These are about the call. Block devices have many of their own, and each is told once.
                let isOfCall = [EBADF, EINVAL, ESPIPE, ENOSYS, EOPNOTSUPP, EPERM].contains(failure)
                if !isOfCall { state.syncFailure = Errno(rawValue: failure) }
                return state.syncFailure
            } catch {
                // Nor does it where there is no descriptor to be had: then nothing can be read either.
                return nil
            }
        }
    }

    // MARK: Within the lock

    /// Notes that bytes are about to change: the name on disk says first that there is something to keep.
    func willChange(_ state: inout State, cuttingTo size: UInt64?) throws(Errno) {
        guard !state.isKept else { throw .noSuchFileOrDirectory }
        guard state.isDirty else {
            guard !state.isAbandoned else { return }
            try self.becomeDirty(&state, cuttingTo: size)
            return self.noteSoon(&state)
        }
        if state.stage != .open {
            state.stage = .open
            state.reason = nil
            self.record(state)
        }
        self.noteSoon(&state)
    }

    /// Where it is cut, the local file is before the journal is told what is here of it: else that would be nothing of what
    /// is written next.
    private func becomeDirty(_ state: inout State, cuttingTo size: UInt64?) throws(Errno) {
        let before = state.size
        if let size, size < before {
            let descriptor = try self.open(&state)
            guard ftruncate(descriptor.rawValue, off_t(size)) == 0 else { throw Errno(rawValue: errno) }
            state.extents.removeAll(from: size)
            state.size = size
        }
        // By what a person is to know it, should the journal not come to know it.
        let name = StagingName(number: self.number, path: state.place())
        do throws(Errno) {
            try self.store.markDirty(name)
        } catch {
            // What was cut away is on the service.
            if state.size < before, let descriptor = state.descriptor {
                _ = ftruncate(descriptor.rawValue, off_t(before))
                state.size = before
            }
            throw error
        }
        state.name = name
        state.stage = .open
        state.time = Int64(Glibc.time(nil))
        self.store.journal.queue(self.makeRecord(state), at: state.place)
    }

    /// Has the journal's thread ask what has changed, some time after the first change that it does not know.
    private func noteSoon(_ state: inout State) {
        guard !state.isNoted else { return }
        state.isNoted = true
        self.store.journal.noteSoon { [weak self] in
            self?.state.withLock { state in
                state.isNoted = false
                self?.record(state)
            }
        }
    }

    /// Has the journal know of what was written; not of all that is here each time, as that may be much.
    func recordGrowth(_ state: inout State) {
        var extents = state.grown
        guard extents.extents.count <= State.grownLimit, !state.isWhole else {
            state.grown = ExtentMap()
            return self.record(state)
        }
        let size = min(state.size, state.cutSize ?? state.size)
        extents.removeAll(from: size)
        self.store.journal.queue(.grown(self.number, Journal.Content(size: size, extents: extents)))
    }

    /// Has the journal know how it stands; one that is clean has no record.
    func record(_ state: State) {
        if state.isDirty { self.store.journal.queue(.record(self.makeRecord(state))) }
    }

    private func makeRecord(_ state: State) -> Journal.Record {
        Journal.Record(
            number: self.number,
            path: nil,
            state: state.stage ?? .open,
            content: state.content,
            synced: state.synced,
            isPromised: state.isPromised,
            baseSize: state.baseSize,
            replacesUnknown: state.replacesUnknown,
            completingSize: state.completingSize,
            upload: nil,
            reason: state.reason,
            time: state.time
        )
    }

    func becomeClean(_ state: inout State) {
        self.store.markClean(state.name)
        self.removeRecord(&state)
        state.stage = nil
        state.synced = nil
        state.isPromised = false
        state.completingSize = nil
        state.reason = nil
        state.upload = nil
    }

    func removeRecord(_ state: inout State) {
        self.store.journal.queue(.removeRecord(self.number))
        if state.synced != nil { state.withdrawal = self.store.journal.withdraw() }
    }

    /// Whether a power failure could bring back bytes that were safe here and are uploaded by now, as what is here then.
    func mayComeBack(_ state: inout State) -> Bool {
        guard let withdrawal = state.withdrawal else { return false }
        if self.store.journal.mayBringBack(withdrawal) { return true }
        state.withdrawal = nil
        return false
    }

    func forgetUpload(_ state: inout State) {
        guard state.upload != nil else { return }
        self.store.journal.queue(.endUpload(self.number))
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
