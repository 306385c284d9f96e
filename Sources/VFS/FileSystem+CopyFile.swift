import Inodes
import Primitives
import RemoteAPI
import Staging
import Synchronization
import WireFormat

// The copy of a file under another name, which is most of its rename.

extension FileSystem {
    /// What was copied.
    struct Copied: Sendable {
        /// The staged file that it was copied from, if there was one.
        let staged: (StagedFile, StagedFile.Snapshot)?
        /// The version on the service that bytes not staged came from.
        let version: ContentID?
        /// The size in bytes that the service had under the old name then; nothing if that is not known.
        let oldSize: UInt64?
    }

    /// Uploads a file under another name; writers that are faster than that are let run twice, then they wait.
    func copyOutrunningWriters(
        _ content: FileContent,
        to new: Place,
        replacing target: FileContent?,
        _ noted: NotedRename?
    ) async throws(FileSystemError) -> Copied {
        for round in 0..<2 {
            if let copied = try await self.copy(
                content,
                to: new,
                replacing: target,
                noted,
                isRepeated: round > 0
            ) {
                return copied
            }
        }
        let last: Result<Copied?, FileSystemError> = await content.writers.alone {
            do throws(FileSystemError) {
                return .success(
                    try await self.copy(content, to: new, replacing: target, noted, isRepeated: true)
                )
            } catch {
                return .failure(error)
            }
        }
        guard let copied = try last.get() else { throw .changedOnServer }
        return copied
    }

    /// Uploads a file under another name.
    ///
    /// - Parameters:
    ///   - content: The file's.
    ///   - new: Its new name.
    ///   - target: What has that name.
    ///   - noted: What the journal has of it.
    ///   - isRepeated: Whether an earlier round was outrun: what that sent may be there, as an answer was lost.
    /// - Returns: What was uploaded; nothing if a writer outran it.
    /// - Throws: Why it was not.
    private func copy(
        _ content: FileContent,
        to new: Place,
        replacing target: FileContent?,
        _ noted: NotedRename?,
        isRepeated: Bool
    ) async throws(FileSystemError) -> Copied? {
        guard let path = self.namespace.path(of: new.parent)?.appending(new.name) else { throw .noSuchFile }
        if let staged = content.staged { try self.wasLost(staged, of: content) }
        let version = try await self.versionUnlessDirty(content)
        let staged = content.currentStaged(known: version)
        let snapshot = staged?.file.snapshot
        guard let size = snapshot?.size ?? version?.size else { throw .stale }
        let source = self.source(of: content, staged?.file, over: staged?.base ?? version, size: size)
        // Of that size, or seen long ago, it would prove nothing.
        let replaced = target.flatMap { target in
            self.sizeOnServer(target, otherwise: size).map { self.isFresh($0, of: target) ? $0 : size }
        }
        let previousSize = isRepeated ? replaced ?? size : replaced
        let oldSize = self.sizeOnServer(content, otherwise: nil)
        noted?.willCopy(size, old: oldSize, over: previousSize)
        let isCompleting = Atomic(false)
        do throws(FileSystemError) {
            let isDone = try await self.uploader.upload(
                source,
                to: path,
                in: new.parent,
                previousSize: previousSize,
                beforeComplete: { () throws(FileSystemError) in
                    try await self.checkSource(source, of: content)
                    if let target {
                        try await self.settleDoubt(about: target, at: path)
                        try await self.beginLeaving(target)
                    }
                    isCompleting.store(true, ordering: .relaxed)
                    // What waits to be uploaded there is no conflict with what is.
                    target?.state.withLock { state in
                        for waiting in state.waiting { waiting.willReplace(size: size) }
                        state.sizeInDoubt = size
                    }
                    await self.staging.journal.written()
                }
            ) { content.staged?.snapshot == snapshot }
            guard isDone else { return nil }
        } catch {
            // Whether the target was replaced, or made, is not known: nothing of it is believed any more.
            if let target {
                self.forgetVersion(of: target)
                // Its own rest, on the service, may be this file's by now.
                for mixed in target.waiting where !mixed.isWhole && isCompleting.load(ordering: .relaxed) {
                    self.giveUp(target, mixed, "a rename over it failed, and may have replaced it there")
                }
            }
            self.namespace.expireListing(new.parent)
            throw error
        }
        let sent = staged.flatMap { staged in snapshot.map { (staged.file, $0) } }
        return Copied(staged: sent, version: version?.content, oldSize: oldSize)
    }

    /// Finds out whether an upload of a file took effect whose last answer was lost, before another doubt comes in its
    /// place; and lets that upload go, as it is not the one that may be there then.
    private func settleDoubt(about target: FileContent, at path: RemotePath) async throws(FileSystemError) {
        guard target.isDirty, target.state.withLock({ $0.sizeInDoubt != nil }) else { return }
        for staged in target.waiting { staged.endUpload() }
        do throws(RemoteError) {
            _ = target.wasInDoubt(of: try await self.remote.size(of: path))
        } catch {
            if error != .notFound { throw FileSystemError(error) }
        }
    }

    /// Makes sure that the local disk has not failed what is here of a file, and that bytes which came from the service
    /// were all of one version, as far as its size tells: where others
    /// of the file are here alone, or where it took its time, so that somebody may have replaced it meanwhile.
    func checkSource(
        _ source: Uploader.Source,
        of content: FileContent
    ) async throws(FileSystemError) {
        if let failure = source.staged?.diskFailure() { throw .local(failure) }
        guard let base = source.base, source.staged?.isWhole != true,
            source.staged != nil || source.size > self.uploader.lanes.plan(size: source.size).partSize,
            let path = base.path()
        else { return }
        let size = try await self.fail { () throws(RemoteError) in try await self.remote.size(of: path) }
        // An upload of ours may have come there, though nobody has heard of it.
        if size != base.size, size != content.state.withLock({ $0.sizeInDoubt }) { throw .changedOnServer }
    }

    /// What the service has of a file is not known any more.
    func forgetVersion(of content: FileContent) {
        self.namespace.forgetVersion(of: content.inode)
        let staged = content.state.withLock { state in
            defer { if state.staged?.isDirty == false { state.staged = nil } }
            return state.staged
        }
        // Held until here: its local file goes with it, for which nobody who asks for the state is to wait.
        withExtendedLifetime(staged) {}
    }

    /// The size that the service has of a file: nothing if it has none; some other one where it is not known, also as
    /// the answer to an upload's last call was lost.
    private func sizeOnServer(_ content: FileContent, otherwise size: UInt64?) -> UInt64? {
        if content.state.withLock({ $0.sizeInDoubt != nil }) { return size }
        guard self.namespace.isOnServer(content.inode) else { return nil }
        if content.isDirty {
            // Of one that was emptied there is no version that its bytes come from.
            return content.state.withLock { $0.base?.size ?? $0.staged?.baseSize } ?? size
        }
        return self.namespace.knownVersion(of: content.inode)?.size ?? size
    }

    /// Notes in the journal that a file is about to be renamed on the service.
    func note(_ path: RemotePath, to new: Place) -> NotedRename? {
        guard let target = self.namespace.path(of: new.parent)?.appending(new.name) else { return nil }
        return NotedRename(self.staging.journal, from: path, to: target)
    }

    private func versionUnlessDirty(_ content: FileContent) async throws(FileSystemError) -> FileVersion? {
        if content.isDirty { return self.namespace.knownVersion(of: content.inode) }
        return try await self.fail { () throws(RemoteError) in
            try await self.namespace.version(of: content.inode)
        }
    }
}
