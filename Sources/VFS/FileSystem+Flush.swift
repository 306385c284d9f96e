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
        let writers = handle.writers.withLock { writers in
            defer { writers.processes = [] }
            return writers.processes
        }
        let isBystander =
            process != 0 && handle.opener != 0 && process != handle.opener && !writers.contains(process)
            && !writers.contains(0)
        do throws(FileSystemError) {
            if !isBystander { return try await self.upload(handle.content) }
        } catch {
            handle.writers.withLock { $0.processes.formUnion(writers) }
            throw error
        }
        handle.writers.withLock { $0.processes.formUnion(writers) }
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

    /// Uploads until the service has what is here, and says why if it cannot be done.
    func uploadUntilClean(_ content: FileContent) async -> Result<Void, FileSystemError> {
        let result: Result<Void, FileSystemError> = await self.tree.shared {
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
        self.dropIfUnused(content)
    }

    /// Uploads, as long as the file's name and bytes stand still; the caller holds `tree` and `transfer`.
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
    }

    /// - Returns: Whether the service now has what is here.
    private func uploadOnce(_ content: FileContent) async throws(FileSystemError) -> Bool {
        let (staged, base) = content.state.withLock { ($0.isUnlinked ? nil : $0.staged, $0.base) }
        guard let staged, let path = self.namespace.path(of: content.inode),
            let (parent, _) = self.namespace.location(of: content.inode)
        else { return true }
        let snapshot = staged.snapshot
        let isOnServer = self.namespace.isOnServer(content.inode)
        let source = Uploader.Source(staged: staged, base: base, size: snapshot.size) {
            self.namespace.path(of: content.inode)
        }
        let isDone = try await self.uploader.upload(
            source,
            to: path,
            in: parent,
            previousSize: isOnServer ? self.namespace.knownVersion(of: content.inode)?.size : nil
        ) { staged.snapshot == snapshot }
        guard isDone else { return false }
        let isClean = staged.didUpload(snapshot)
        let version = self.namespace.didUpload(content.inode, size: snapshot.size, isHeld: !isClean)
        content.state.withLock { state in
            guard state.staged === staged else { return }
            state.base = FileVersion(content: version, size: snapshot.size, validFor: .zero)
        }
        return isClean
    }

    /// Keeps the staged bytes of what was just uploaded for reads and renames, and lets the oldest of such go.
    func retain(_ content: FileContent) {
        guard let staged = content.staged, !staged.isDirty, !content.isUnlinked else { return }
        for inode in self.retained.add(content.inode, byteCount: staged.localByteCount) {
            guard let oldest = self.existingContent(of: inode) else { continue }
            oldest.state.withLock { state in
                if state.handleCount == 0, state.staged?.isDirty == false { state.staged = nil }
            }
            self.dropIfUnused(oldest)
        }
    }

    /// A file that could not be uploaded.
    public struct UnsentFile: Sendable {
        /// Where it is.
        public let path: RemotePath
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
                    guard case .failure(let error) = await self.uploadUntilClean(content) else { return nil }
                    return UnsentFile(
                        path: self.namespace.path(of: content.inode) ?? .root,
                        byteCount: content.staged?.size ?? 0,
                        error: error
                    )
                }
            }
            var unsent: [UnsentFile] = []
            for await file in group { if let file { unsent.append(file) } }
            return unsent
        }
    }
}
