import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

extension FileSystem {
    /// Whether a close of the handle has anything to wait for: reading is none of the writers' business.
    public func needsFlush(_ handle: FileHandle) -> Bool {
        handle.content.isDirty && (handle.isWritable || handle.writers.withLock { !$0.processes.isEmpty })
    }

    /// Whether nothing was written through a handle since it was opened or last flushed: at most it made or emptied its
    /// file.
    public func isUnwritten(_ handle: FileHandle) -> Bool { handle.writers.withLock { $0.processes.isEmpty } }

    /// What close(2) waits for: what was written through the handle is on the service when this returns.
    ///
    /// A flush comes once per closed descriptor, also from a forked child that only inherited it. Such a close says
    /// nothing about the file, so that only the process that opened the handle, or one that wrote through it, uploads.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - process: The process that closes; 0 if it is not known.
    /// - Throws: Why the bytes are not on the service; they are kept here.
    public func flush(_ handle: FileHandle, by process: Int32) async throws(FileSystemError) {
        guard self.needsFlush(handle) else { return }
        let writers = handle.writers.withLock { $0.processes }
        let isBystander =
            process != 0 && handle.opener != 0 && process != handle.opener && !writers.contains(process)
            && !writers.contains(0)
        if isBystander { return }
        try await self.upload(handle.content)
        if !handle.content.isDirty { handle.writers.withLock { $0.processes = [] } }
    }

    /// What fsync(2) waits for: all that was written to the file is on the service when this returns.
    public func fsync(_ handle: FileHandle) async throws(FileSystemError) {
        try await self.upload(handle.content)
    }

    /// Uploads what a content has that the service has not.
    ///
    /// A cancelled caller stops waiting; the upload goes on, and its failure is the next flush's.
    func upload(_ content: FileContent) async throws(FileSystemError) {
        guard content.isDirty else { return }
        let answer = OneShot<Result<Void, FileSystemError>>()
        Task { answer.resolve(await self.uploadUntilClean(content)) }
        guard let result = await answer.wait() else { throw .interrupted }
        try result.get()
    }

    /// Uploads what is here until the service has it, and says why if it cannot be done.
    ///
    /// What is written meanwhile is covered by the close or fsync of whoever writes it.
    func uploadUntilClean(_ content: FileContent) async -> Result<Void, FileSystemError> {
        let directory = { self.namespace.location(of: content.inode).map { [$0.parent] } ?? [] }
        let result: Result<Void, FileSystemError> = await self.holding(directory) {
            await content.transfer.alone {
                do throws(FileSystemError) {
                    try await self.uploadHoldingTransfer(content)
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
        }
        self.settle(content, result)
        return result
    }

    private func settle(_ content: FileContent, _ result: Result<Void, FileSystemError>) {
        switch result {
        case .success:
            content.state.withLock { $0.lastError = nil }
            self.retain(content)
        case .failure(let error):
            content.state.withLock { $0.lastError = error }
            self.logger.error(
                "an upload failed; its bytes are kept and are tried again at the next close, fsync or unmount",
                metadata: [
                    "path": "\(self.namespace.path(of: content.inode)?.description ?? "?")",
                    "cause": "\(error)",
                ]
            )
        }
        self.letGo(content)
    }

    /// Uploads, as long as the file's name and bytes stand still; the caller holds the gates above it and `transfer`.
    func uploadHoldingTransfer(_ content: FileContent) async throws(FileSystemError) {
        // Writers that are faster than the upload are let run twice, then they wait for it.
        for attempt in 0..<3 where content.isDirty {
            if attempt < 2 {
                if try await self.uploadOnce(content) { return }
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

    /// Uploads what is here at this moment.
    ///
    /// - Returns: Whether the service now has it: `false` if a writer outran it, and then nothing was changed there.
    private func uploadOnce(_ content: FileContent) async throws(FileSystemError) -> Bool {
        let (staged, base) = content.state.withLock { ($0.isUnlinked ? nil : $0.staged, $0.base) }
        guard let staged else { return true }
        guard let path = self.namespace.path(of: content.inode),
            let (parent, _) = self.namespace.location(of: content.inode)
        else {
            // Its directory went, or its name stands for something else now: the bytes stay, and nobody is told that
            // they are on the service.
            throw .stale
        }
        let snapshot = staged.snapshot
        let source = Uploader.Source(staged: staged, base: base, size: snapshot.size) {
            self.namespace.path(of: content.inode)
        }
        // Of unknown size, or none: see `completeUpload`.
        let previousSize = self.namespace.isOnServer(content.inode) ? base?.size ?? snapshot.size : nil
        do throws(FileSystemError) {
            let isDone = try await self.uploader.upload(
                source,
                to: path,
                in: parent,
                previousSize: previousSize,
                early: content.early.take(staged, size: snapshot.size, at: path)
            ) {
                staged.snapshot == snapshot
            }
            guard isDone else { return false }
        } catch {
            switch error {
            case .remote, .interrupted: self.namespace.mayBeOnServer(content.inode)
            default: break
            }
            throw error
        }
        self.didUpload(content, staged, snapshot)
        return true
    }

    /// The service has a snapshot of a staged file under the file's name.
    func didUpload(_ content: FileContent, _ staged: StagedFile, _ snapshot: StagedFile.Snapshot) {
        // The new base first and clean last: in between the staged file is still the one to read and write.
        let version = self.namespace.didUpload(content.inode, size: snapshot.size, isHeld: true)
        content.state.withLock { state in
            state.lastError = nil
            guard state.staged === staged else { return }
            state.base = FileVersion(content: version, size: snapshot.size, validFor: .zero)
        }
        guard staged.didUpload(snapshot) else { return }
        self.namespace.setHeld(content.inode, false)
        if staged.isDirty { self.namespace.setHeld(content.inode, true) }
    }

    /// Keeps the staged bytes of what was just uploaded for reads and renames, and lets the oldest of such go.
    func retain(_ content: FileContent) {
        guard let staged = content.staged, !staged.isDirty, !content.isUnlinked else { return }
        for inode in self.retained.add(content.inode, byteCount: staged.localByteCount) {
            guard let oldest = self.existingContent(of: inode) else { continue }
            // In use it is kept, and comes back here with its last release.
            self.letGo(oldest) { state in
                if state.useCount == 0, state.staged?.isDirty == false { state.staged = nil }
            }
        }
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
        let dirty = self.contents.withLock { Array($0.values) }.filter(\.isDirty)
        return (dirty.count, dirty.reduce(0) { $0 + ($1.staged?.size ?? 0) })
    }

    private func unsentFile(_ content: FileContent, _ error: FileSystemError) -> UnsentFile? {
        guard !content.isUnlinked else { return nil }
        let byteCount = content.staged?.size ?? 0
        if let path = self.namespace.path(of: content.inode) {
            return UnsentFile(place: path.description, byteCount: byteCount, error: error)
        }
        // Told this once; it could never be uploaded.
        let kept = content.staged?.keepForRecovery() ?? ""
        self.letGo(content) { $0.staged = nil }
        self.logger.error(
            "the place of unsent bytes is gone from the server; they are kept here",
            metadata: ["file": "\(kept)"]
        )
        return UnsentFile(place: "what is now in \(kept)", byteCount: byteCount, error: error)
    }

    /// Uploads everything that waits here, up to 8 files at once.
    ///
    /// - Returns: What could not be uploaded; its bytes are kept.
    public func drain() async -> [UnsentFile] {
        let dirty = self.contents.withLock { Array($0.values) }.filter(\.isDirty)
        let places = AsyncSemaphore(8)
        return await withTaskGroup(of: UnsentFile?.self) { group in
            for content in dirty {
                group.addTask {
                    do { try await places.acquire() } catch { return nil }
                    defer { places.release() }
                    // Who waits may go away; what was begun goes on.
                    do throws(FileSystemError) {
                        try await self.upload(content)
                        return nil
                    } catch {
                        return error == .interrupted ? nil : self.unsentFile(content, error)
                    }
                }
            }
            var unsent: [UnsentFile] = []
            for await file in group { if let file { unsent.append(file) } }
            return unsent.sorted { $0.place < $1.place }
        }
    }
}
