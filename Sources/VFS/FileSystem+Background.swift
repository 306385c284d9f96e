import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import Synchronization
import SystemPackage
import WireFormat

// What close(2) leaves to be uploaded: durable here, and then in the background.

extension FileSystem {
    /// Whether close(2) of a file waits for the local disk alone.
    func isWrittenBack(_ content: FileContent) -> Bool {
        self.options.mode == .writeBack || self.isDeferred(content)
    }

    /// Whether a file's name says that it will get another one soon.
    private func isDeferred(_ content: FileContent) -> Bool {
        guard let (_, name) = self.namespace.location(of: content.inode) else { return false }
        return self.options.defers(name)
    }

    /// Puts what was written to a file where close(2) and fsync(2) say it is: onto the service, or, where writes wait
    /// here, onto the local disk, to be uploaded in the background.
    ///
    /// - Throws: Why it is not there; or, once, why an earlier upload in the background failed.
    func save(_ content: FileContent) async throws(FileSystemError) {
        if content.isDirty, !self.isWrittenBack(content) {
            try await self.upload(content)
        } else if content.isDirty {
            if let staged = content.staged {
                // Made durable with the bytes' record.
                self.namespace.saveAttributes(of: content.inode, size: staged.size)
                do throws(Errno) {
                    try await self.makeDurable(staged, of: content)
                } catch {
                    content.state.withLock { $0.isUnsaved = true }
                    throw .local(error)
                }
            }
            if self.enqueue(content) {
                // Else they would take more and more memory, where files come faster than they can be sent.
                await self.queue.waitForRoom(
                    limit: self.options.waitingLimit,
                    atMost: self.options.longestWait
                )
            }
        }
        if let error = content.takeUntold() { throw error }
    }

    /// Has all that is here of a file uploaded, as nobody writes to it any more; nobody waits for it.
    func saveSoon(_ content: FileContent) {
        // What is covered is in the queue; what was refused waits for somebody who is told.
        guard !content.isCovered, content.staged?.stage != .failed else { return }
        content.staged?.recordPending()
        // What fails is uploaded all the same.
        Task {
            if let staged = content.staged { try? await self.makeDurable(staged, of: content) }
        }
        self.enqueue(content)
    }

    /// Makes what is staged durable, as something that is to be uploaded: it takes the place of what was promised before.
    func makeDurable(_ staged: StagedFile, of content: FileContent) async throws(Errno) {
        let former = content.former
        try await staged.makeDurable()
        content.state.withLock { state in
            guard state.staged === staged else { return }
            state.isUnsaved = false
            // One that became the former one meanwhile is newer than this promise.
            guard let former, state.former?.staged === former else { return }
            state.discardFormer()
            // Its upload is in vain, unless writers outrun uploads all the time.
            if !state.isCompleting, state.outrunCount < 3 {
                state.outrunCount += 1
                self.queue.stop(content.inode)
            }
        }
    }

    /// What was changed of a directory's names here is durable on the local disk when this returns; what the service
    /// was told of them was there before.
    public func fsyncdir() async throws(FileSystemError) { try await self.commitJournal() }

    /// Waits until all that the journal was told of is durable on the local disk.
    func commitJournal() async throws(FileSystemError) {
        do throws(Errno) { try await self.staging.journal.commit() } catch { throw .local(error) }
    }

    /// Has a file uploaded in the background: at once, or, if its name is a temporary one, after a while.
    ///
    /// - Parameters:
    ///   - content: The file's.
    ///   - isRenewed: Whether a temporary name waits its while from now on.
    /// - Returns: Whether it did not wait for that yet.
    @discardableResult
    func enqueue(_ content: FileContent, isRenewed: Bool = true) -> Bool {
        let delay = self.isDeferred(content) ? self.options.temporaryDelay : .zero
        return self.queue.add(content, after: delay, isRenewed: isRenewed)
    }

    /// Whether a rename of a file that the service does not have is done when it is done here.
    func movesLocally(_ content: FileContent) -> Bool {
        if self.options.mode == .writeBack { return true }
        // A close that failed, or that left a temporary name here, is made good by it.
        return content.state.withLock { $0.lastError == nil } && !(content.isDirty && content.isCovered)
    }

    /// Asks for the size of a file that is to be replaced later, so that it is noticed if others replace it before.
    func learnSize(of target: FileContent) async {
        guard self.options.mode == .writeBack, !target.isDirty, self.namespace.isOnServer(target.inode) else {
            return
        }
        // Where that fails, it is replaced whatever it is by then.
        _ = try? await self.version(of: target.inode)
    }

    /// A file that the service does not have got another name: it goes there, at once if that is a lasting one.
    func didMoveLocally(_ content: FileContent, from source: RemotePath?, replacing target: FileContent?) {
        if let source, let path = self.namespace.path(of: content.inode) {
            self.staging.journal.move(from: source, to: path)
        }
        let isThere = self.namespace.isOnServer(content.inode)
        var replaced: (size: UInt64?, isUnknown: Bool) = (nil, false)
        var doubt: UInt64?
        var replacedCount = 0
        if let target, target.isDirty {
            if isThere, let staged = target.staged { replaced = (staged.baseSize, staged.replacesUnknown) }
            // An upload of what is replaced may have become the file, as its last answer was lost: also after a listing
            // that does not show it.
            doubt = target.state.withLock(\.sizeInDoubt)
            replacedCount = target.state.withLock(\.replacedCount) + 1
        } else if let target, isThere {
            let size = self.namespace.knownVersion(of: target.inode)?.size
            replaced = (size, size == nil)
        }
        content.state.withLock { state in
            state.sizeInDoubt = doubt
            state.replacedCount = max(replacedCount, state.replacedCount)
            for staged in state.waiting {
                // Whatever the service has, or may have, under the old name is not what the new one stands for.
                staged.replacesNothing()
                staged.setBase(size: replaced.size, isUnknown: replaced.isUnknown)
                if let doubt { staged.willReplace(size: doubt) }
            }
        }
        guard content.isDirty else { return }
        if content.isCovered || content.former != nil || content.staged?.stage == .failed {
            self.enqueue(content)
        }
    }

    /// Stops the upload of a file that runs in the background, since its name is about to go or to change.
    func stopUpload(of content: FileContent) {
        content.state.withLock { state in
            if !state.isCompleting { self.queue.stop(content.inode) }
        }
    }

    /// Uploads what waits of a file.
    ///
    /// - Parameters:
    ///   - content: The file's.
    ///   - isForced: Whether also what no close or fsync covers.
    /// - Returns: What became of it.
    func uploadInBackground(_ content: FileContent, isForced: Bool) async -> UploadSchedule.Outcome {
        guard content.isDirty else { return .skipped }
        let isCovered = isForced || content.staged?.stage != .open
        let former = isCovered ? nil : content.former
        // Who writes for ever, and has that synced now and then, must wait in the end.
        let isPatient = isForced || content.state.withLock { $0.outrunCount >= 3 }
        guard isPatient || isCovered || former != nil else {
            // Somebody else wrote while a close made it durable: that counts like a write during an upload.
            if content.staged?.holdsPromise == true { content.state.withLock { $0.outrunCount += 1 } }
            return .skipped
        }
        let result = await self.uploadNow(content, former: former, isPatient: isPatient)
        // Others go up in its place, however long that takes.
        guard let result else { return .heldUp }
        switch result {
        case .success where former != nil:
            // What is staged by now waits for its close.
            content.state.withLock { $0.outrunCount = 0 }
            return .done
        case .success:
            let isDirty = content.isDirty
            content.state.withLock { $0.outrunCount = isDirty ? $0.outrunCount + 1 : 0 }
            return isDirty ? .outrun : .done
        case .failure(.interrupted): return .stopped
        case .failure(let error):
            if self.namespace.location(of: content.inode) == nil {
                for staged in content.waiting {
                    self.giveUp(content, staged, "its place is gone from the server")
                }
                return .skipped
            }
            if error.mayPass { return error.isSilence ? .unanswered : .failedForNow }
            content.state.withLock { $0.refusal = error }
            return .refused
        }
    }

    /// Bytes that can never be uploaded are put where a person finds them.
    ///
    /// - Parameters:
    ///   - content: Of which file.
    ///   - staged: The bytes.
    ///   - reason: Why, for that person.
    ///   - error: Why, for who closes the file, and who goes on to write to it.
    func giveUp(
        _ content: FileContent,
        _ staged: StagedFile,
        _ reason: String,
        error: FileSystemError = .stale
    ) {
        // In one step: who meets it without its local file sees that it is not the content's any more.
        let given: (kept: String, isFormer: Bool, restored: StagedFile?)? = content.state.withLock { state in
            let isFormer = state.former?.staged === staged
            guard staged.isDirty, isFormer || state.staged === staged, !state.isUnlinked else { return nil }
            state.untold = error
            if !isFormer {
                // What was promised before is the file again.
                (state.staged, state.base) = (state.former?.staged, state.former?.base)
                (state.mayHavePagesOfLost, state.isUnsaved) = (state.former != nil, false)
                state.loss = (state.loss.count + 1, error)
            }
            state.former = nil
            return (staged.keepForRecovery(reason), isFormer, state.staged)
        }
        guard let (kept, isFormer, restored) = given else { return }
        let file = UnsentFile(
            place: "what is now in \(kept)",
            byteCount: staged.size,
            error: error
        )
        self.incidents.withLock { $0.didKeep(file) }
        if !isFormer {
            if let restored {
                self.namespace.didWrite(content.inode, size: restored.size, at: .now())
                // Nobody writes to it any more, whose close would cover it.
                restored.recordPending()
                self.enqueue(content)
            } else {
                self.namespace.setHeld(content.inode, false)
            }
            // The kernel has pages of what is given up: who opens the file next must not be shown them.
            self.namespace.forgetVersion(of: content.inode)
            self.letGo(content)
        }
        self.logger.error(
            "unsent bytes cannot be uploaded any more; they are kept for tetherfs recover",
            metadata: ["file": "\(kept)", "cause": "\(reason)"]
        )
    }

    /// A file that could not be uploaded.
    public struct UnsentFile: Sendable {
        /// Where it is, for a person.
        public let place: String
        /// How many bytes wait.
        public let byteCount: UInt64
        /// Why.
        public let error: FileSystemError
    }

    /// The files that have bytes the service does not have, and how many bytes they are.
    public var unsent: (fileCount: Int, byteCount: UInt64) {
        let dirty = self.dirtyContents
        return (dirty.count, dirty.reduce(0) { $0 + ($1.staged?.size ?? 0) })
    }

    var dirtyContents: [FileContent] {
        self.contents.withLock { Array($0.values) }.filter(\.isDirty)
    }

    /// Uploads everything that waits here, and waits until each file was tried, or the service seems to be away, or a
    /// directory's rename that does not get on holds it up.
    ///
    /// - Parameter tellsOfKept: Whether to tell, once, also of what was put where a person finds it.
    /// - Returns: What is not uploaded; its bytes are kept.
    public func drain(tellsOfKept: Bool = true) async -> [UnsentFile] {
        await self.queue.settle(self.dirtyContents) { self.holdUp(of: $0) != nil }
        // Nobody waits for the answer; what was begun goes on.
        if Task.isCancelled { return [] }
        let dirty = self.dirtyContents
        // Else the service may be away, and whoever waits has waited long enough.
        if dirty.isEmpty { await self.deleteGivenUpUploads() }
        let errors = dirty.map { content in content.state.withLock { $0.lastError } }
        let error = errors.lazy.compactMap(\.self).first ?? .interrupted
        let unsent = zip(dirty, errors).map { content, own in
            UnsentFile(
                place: self.namespace.path(of: content.inode)?.description ?? "?",
                byteCount: content.staged?.size ?? 0,
                error: own ?? self.holdUp(of: content) ?? error
            )
        }
        let kept = tellsOfKept ? self.incidents.withLock { $0.takeKept() } : []
        return (kept + unsent).sorted { $0.place < $1.place }
    }
}
