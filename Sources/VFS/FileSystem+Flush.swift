import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import Synchronization
import WireFormat

extension FileSystem {
    /// Whether a close of the handle has anything to wait for: reading is none of the writers' business.
    public func needsFlush(_ handle: FileHandle) -> Bool {
        let content = handle.content
        let isWriters = handle.isWritable || handle.writers.withLock { !$0.processes.isEmpty }
        guard isWriters else { return false }
        if content.hasUntold || handle.isLost { return true }
        guard content.isDirty else { return false }
        return !self.isWrittenBack(content) || !content.isSafe
    }

    /// Whether nothing was written through a handle since it was opened or last flushed: at most it made or emptied its
    /// file.
    public func isUnwritten(_ handle: FileHandle) -> Bool { handle.writers.withLock { $0.processes.isEmpty } }

    /// What close(2) waits for: what was written through the handle is on the service when this returns; where writes
    /// wait here, it is on the local disk for good.
    ///
    /// A flush comes once per closed descriptor, also from a forked child that only inherited it. Such a close says
    /// nothing about the file, so that only the process that opened the handle, or one that wrote through it, uploads.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - process: The process that closes; 0 if it is not known.
    /// - Throws: Why the bytes are not where they should be, or, once, why an upload in the background failed; they are
    ///   kept here.
    public func flush(_ handle: FileHandle, by process: Int32) async throws(FileSystemError) {
        guard self.needsFlush(handle) else { return }
        let writers = handle.writers.withLock(\.processes)
        let isBystander =
            process != 0 && handle.opener != 0 && process != handle.opener && !writers.contains(process)
            && !writers.contains(0)
        if isBystander { return }
        try await self.saveWritten(handle)
    }

    /// What fsync(2) waits for: all that was written to the file is on the service when this returns; where writes wait
    /// here, it is on the local disk for good.
    public func fsync(_ handle: FileHandle) async throws(FileSystemError) {
        try await self.saveWritten(handle)
    }

    private func saveWritten(_ handle: FileHandle) async throws(FileSystemError) {
        let changeCount = handle.writers.withLock(\.changeCount)
        try await self.save(handle.content)
        try self.checkLoss(handle)
        if !handle.content.isDirty || self.isWrittenBack(handle.content) && handle.content.isSafe {
            handle.writers.withLock { $0.removeAll(asOf: changeCount) }
        }
    }

    /// Throws why what was written through a handle was given up, if it was, also where somebody else was told.
    private func checkLoss(_ handle: FileHandle) throws(FileSystemError) {
        if !self.isUnwritten(handle) { try handle.checkLoss() }
    }

    /// Nobody uses a file any more: what no flush covered, such as pages of a mapping, is uploaded from here.
    func uploadRest(of content: FileContent) {
        content.staged?.endReservation()
        guard content.isDirty else { return }
        if self.isWrittenBack(content) {
            self.saveSoon(content)
        } else if content.state.withLock({ $0.lastError == nil }) {
            // The same one: it has unsent bytes.
            let kept = self.use(content.inode)
            content.staged?.recordPending()
            Task {
                // What fails waits for the next close, or for whoever waits for all.
                let isDone = (try? await self.uploadUntilClean(kept).get()) != nil
                self.endUse(kept, uploadsRest: isDone)
            }
        }
    }

    /// Uploads what a content has that the service has not.
    ///
    /// A cancelled caller stops waiting; the upload goes on, and its failure is the next flush's.
    func upload(_ content: FileContent) async throws(FileSystemError) {
        guard content.isDirty else { return }
        content.staged?.recordPending()
        let answer = OneShot<Result<Void, FileSystemError>>()
        Task { answer.resolve(await self.uploadUntilClean(content)) }
        guard let result = await answer.wait() else { throw .interrupted }
        try result.get()
    }

    /// Uploads what is here until the service has it, and says why if it cannot be done.
    func uploadUntilClean(_ content: FileContent) async -> Result<Void, FileSystemError> {
        let result = await self.holding(self.directory(of: content)) {
            await self.uploadBelowGates(content, former: nil, isPatient: true)
        }
        self.settle(content, result)
        return result
    }

    /// Uploads what is here as ``upload(_:)`` does, unless a directory above is being moved.
    ///
    /// What is written meanwhile is covered by the close or fsync of whoever writes it.
    ///
    /// - Parameters:
    ///   - content: Whose bytes.
    ///   - former: What was promised before the file was emptied, if that alone is to be uploaded.
    ///   - isPatient: Whether it is tried again where a writer was faster, and writers wait in the end.
    /// - Returns: Why it failed, if so; nothing if it was not tried.
    func uploadNow(
        _ content: FileContent,
        former: StagedFile?,
        isPatient: Bool
    ) async -> Result<Void, FileSystemError>? {
        let result = await self.holdingNow(self.directory(of: content)) {
            await self.uploadBelowGates(content, former: former, isPatient: isPatient)
        }
        guard let result else { return nil }
        self.settle(content, result)
        return result
    }

    private func directory(of content: FileContent) -> () -> [InodeNumber] {
        { self.namespace.location(of: content.inode).map { [$0.parent] } ?? [] }
    }

    private func uploadBelowGates(
        _ content: FileContent,
        former: StagedFile?,
        isPatient: Bool
    ) async -> Result<Void, FileSystemError> {
        await content.transfer.alone {
            do throws(FileSystemError) {
                if let former {
                    _ = try await self.uploadOnce(content, former: former)
                } else {
                    try await self.uploadHoldingTransfer(content, isPatient: isPatient)
                }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
    }

    private func settle(
        _ content: FileContent,
        _ result: Result<Void, FileSystemError>
    ) {
        switch result {
        case .success:
            content.state.withLock { ($0.lastError, $0.refusal) = (nil, nil) }
            self.retain(content)
        case .failure(.interrupted): break
        case .failure(let error):
            let isNews = content.state.withLock { state in
                defer { state.lastError = error }
                return state.lastError != error
            }
            guard isNews else { break }
            self.logger.error(
                "an upload failed; its bytes are kept and are tried again",
                metadata: [
                    "path": "\(self.namespace.path(of: content.inode)?.description ?? "?")",
                    "cause": "\(error)",
                ]
            )
        }
        self.letGo(content)
    }

    /// Uploads, as long as the file's name and bytes stand still; the caller holds the gates above it and `transfer`.
    func uploadHoldingTransfer(
        _ content: FileContent,
        isPatient: Bool = true
    ) async throws(FileSystemError) {
        // Writers that are faster than the upload are let run twice, then they wait for it.
        for attempt in 0..<3 where content.isDirty {
            if attempt < 2 {
                if try await self.uploadOnce(content) || !isPatient { return }
            } else {
                let result: Result<Bool, FileSystemError> = await content.writers.alone {
                    do throws(FileSystemError) {
                        return .success(try await self.uploadOnce(content))
                    } catch {
                        return .failure(error)
                    }
                }
                if try result.get() { return }
            }
        }
        if content.isDirty { throw .changedOnServer }
    }

    /// Uploads what is here at this moment, beside what the service has if that is somebody else's.
    ///
    /// - Parameters:
    ///   - content: Whose bytes.
    ///   - former: What was promised before the file was emptied, if that is to be uploaded.
    /// - Returns: Whether the service now has it: `false` if a writer outran it before it could change anything there.
    /// - Throws: Why it failed.
    func uploadOnce(
        _ content: FileContent,
        former: StagedFile? = nil
    ) async throws(FileSystemError) -> Bool {
        while true {
            let (staged, base): (StagedFile?, FileVersion?) = content.state.withLock { state in
                if state.isUnlinked { return (nil, nil) }
                guard let former else { return (state.staged, state.base) }
                // Something newer may have been promised meanwhile.
                return state.former.flatMap { $0.staged === former ? $0 : nil } ?? (nil, nil)
            }
            guard let staged, staged.isDirty else { return true }
            guard let path = self.namespace.path(of: content.inode),
                let (parent, _) = self.namespace.location(of: content.inode)
            else {
                // Its directory went, or its name stands for something else now: the bytes stay, and nobody is told
                // that they are on the service.
                throw self.noting(.stale, of: staged)
            }
            let snapshot = staged.snapshot
            let source = self.source(of: content, staged, over: base, size: snapshot.size)
            let bytes = StagedBytes(staged, snapshot)
            let othersInDoubt = content.state.withLock { $0.doubtsOthers(than: bytes) }
            let check = self.startCheck(of: content, staged, at: path, in: parent)
            // Of unknown size, or none: see `completeUpload`. What was seen long ago is looked at by the check, or is not
            // known: others may have put a file of the new size there.
            let isReplacing =
                othersInDoubt || self.namespace.isOnServer(content.inode)
                || check == nil && !self.namespace.isListed(parent)
            let knownSize = othersInDoubt ? nil : base?.size ?? staged.baseSize
            let isKnown = check != nil || self.isFresh(knownSize, of: content)
            let previousSize = isReplacing ? (isKnown ? knownSize : nil) ?? snapshot.size : nil
            // The answer may be of long ago when all parts have arrived.
            let staleFrom = self.namespace.instant + Self.standingAge
            let isLong = self.uploader.lanes.plan(size: snapshot.size).count > 1
            let lateStanding = Mutex(Standing.asExpected)
            defer { content.state.withLock { $0.isCompleting = false } }
            do throws(FileSystemError) {
                let isDone = try await self.uploader.upload(
                    source,
                    to: path,
                    in: parent,
                    previousSize: previousSize,
                    early: content.early.take(staged, size: snapshot.size, at: path),
                    recorder: content.progress.recorder(
                        for: UploadProgress.Subject(
                            staged: staged,
                            snapshot: snapshot,
                            base: base?.content,
                            path: path
                        ),
                        isToldBySize: !othersInDoubt
                    ),
                    beforeComplete: { () throws(FileSystemError) in
                        if let failure = staged.diskFailure() { throw .local(failure) }
                        if let check, try await check.value.get() != .asExpected { throw .changedOnServer }
                        if check != nil, isLong || self.namespace.instant > staleFrom {
                            let standing = try await self.fail { () async throws(RemoteError) in
                                try await self.standing(
                                    of: content,
                                    staged,
                                    at: path,
                                    in: parent,
                                    isLate: true
                                )
                            }
                            lateStanding.withLock { $0 = standing }
                            if standing != .asExpected { throw .changedOnServer }
                        }
                        await self.willReplace(content, size: snapshot.size)
                        guard content.beginCompleting(unless: { Task.isCancelled }) else {
                            throw .interrupted
                        }
                    },
                    // It can be stopped again until all of it has arrived once more.
                    beforeSendingAgain: { self.noteDoubt(about: content, bytes) }
                ) {
                    staged.snapshot == snapshot
                }
                guard isDone else {
                    check?.cancel()
                    self.noteDoubt(about: content, bytes)
                    return false
                }
            } catch {
                check?.cancel()
                guard staged.isDirty, content.waiting.contains(where: { $0 === staged }) else {
                    // Nobody wants it any more: what came in its place has still to go up.
                    self.noteDoubt(about: content, bytes)
                    return false
                }
                var standing = lateStanding.withLock { $0 }
                if let check, case .success(let early) = await check.value, early != .asExpected {
                    standing = early
                }
                if standing != .asExpected {
                    try self.setAside(content, staged, since: standing)
                    continue
                }
                self.noteDoubt(about: content, bytes)
                if let failure = staged.diskFailure() {
                    // What of it can still be read is not known, nor whether that is what was written.
                    // Who is told by this may not be who wrote.
                    self.giveUp(content, staged, "the local disk failed: \(failure)", error: .local(failure))
                    throw .local(failure)
                }
                throw self.noting(error, of: staged)
            }
            if self.didUpload(content, staged, snapshot) { try? await self.commitJournal() }
            return true
        }
    }

    /// Whether a size was seen on the service within the time to live.
    func isFresh(_ size: UInt64?, of content: FileContent) -> Bool {
        size != nil && self.namespace.freshVersion(of: content.inode)?.size == size
    }

    /// Notes that the upload of a staged file failed, if it was refused.
    private func noting(_ error: FileSystemError, of staged: StagedFile) -> FileSystemError {
        if !error.mayPass { staged.recordFailed(error.description) }
        return error
    }

    /// The service may have an upload of so many bytes from now on: known to a later mount when this returns.
    private func willReplace(_ content: FileContent, size: UInt64) async {
        // Who empties the file meanwhile passes it on.
        content.state.withLock { state in
            for staged in state.waiting { staged.willReplace(size: size) }
        }
        await self.staging.journal.written()
    }

    /// An upload did not succeed, or not yet: if it was about to become the file, the service may have it now.
    private func noteDoubt(about content: FileContent, _ bytes: StagedBytes) {
        let isInDoubt = content.state.withLock { state in
            guard state.isCompleting else { return false }
            state.isCompleting = false
            state.doubt(bytes)
            return true
        }
        if isInDoubt { self.namespace.mayBeOnServer(content.inode) }
    }

    /// The service has a snapshot of a staged file under the file's name.
    ///
    /// - Returns: Whether a power failure could bring back older bytes over it until the journal is committed.
    func didUpload(
        _ content: FileContent,
        _ staged: StagedFile,
        _ snapshot: StagedFile.Snapshot
    ) -> Bool {
        // The new base first and clean last: in between the staged file is still the one to read and write.
        let version = FileVersion(
            content: self.namespace.didUpload(content.inode, size: snapshot.size, isHeld: true),
            size: snapshot.size,
            validFor: .zero
        )
        if content.takePagesOfLost() { self.namespace.forgetServed(content.inode) }
        // In one step: who empties the file meanwhile passes on what its staged file replaces.
        let (isDone, olderMayComeBack) = content.state.withLock { state in
            state.lastError = nil
            state.sizeInDoubt = nil
            state.isRecovered = false
            state.replacedCount = 0
            guard state.staged === staged else {
                let olderMayComeBack = staged.didUpload(snapshot).othersMayComeBack
                state.former?.staged.didReplace(size: snapshot.size)
                state.staged?.didReplace(size: snapshot.size)
                if state.former?.staged === staged { state.keepFormer(over: version) }
                return (false, olderMayComeBack)
            }
            state.isUnsaved = false
            state.base = version
            // Gone before what is newer is: a later mount must not take it for that.
            let hadFormer = state.former != nil
            state.discardFormer()
            let (isAll, othersMayComeBack) = staged.didUpload(snapshot)
            return (isAll, hadFormer || othersMayComeBack)
        }
        guard isDone, content.staged === staged else { return olderMayComeBack }
        self.namespace.setHeld(content.inode, false)
        // What is written by now, there or in a file that took its place.
        if content.isDirty { self.namespace.setHeld(content.inode, true) }
        return olderMayComeBack
    }
}
