import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

// What an earlier mount left to be uploaded.

extension FileSystem {
    /// How many files are asked about at once.
    static let recoveryConcurrency = 64

    /// Takes up what an earlier mount left to be uploaded: it is in its place when this returns, and is uploaded in the
    /// background. To be called before anything else is asked.
    ///
    /// - Throws: Why the service cannot say what is there now; nothing is lost then, and the next mount tries again.
    public func recover() async throws(FileSystemError) {
        let leftovers = self.staging.takeLeftovers(logger: self.logger)
        await self.hideEarlierUploads(of: leftovers)
        guard !leftovers.isEmpty else { return }
        self.logger.notice(
            "files that an earlier mount did not upload are taken up",
            metadata: ["files": "\(leftovers.count)"]
        )
        var directories: [RemotePath: [StagingStore.Leftover]] = [:]
        for leftover in leftovers {
            guard let path = leftover.record.path, path.name != nil else {
                self.keep(leftover, "its name was gone")
                continue
            }
            directories[path.parent, default: []].append(leftover)
        }
        await self.adjustRenames(to: leftovers.compactMap(\.record.path))
        let places = AsyncSemaphore(Self.recoveryConcurrency)
        let failures = await withTaskGroup(of: RemoteError?.self) { group in
            for (path, leftovers) in directories {
                group.addTask { await self.recover(leftovers, in: path, places) }
            }
            var failures: [RemoteError] = []
            for await failure in group {
                guard let failure else { continue }
                failures.append(failure)
                group.cancelAll()
            }
            return failures
        }
        if let failure = failures.first(where: { $0 != .cancelled }) ?? failures.first {
            throw .remote(failure)
        }
    }

    /// What waits stays under its name. A rename of a file that had not come so far that nothing waited under either name
    /// any more is given up, and nothing is deleted for it. The rename of a directory copies anew what waits below it,
    /// also if that is on the service by then: what was copied before is older.
    private func adjustRenames(to paths: [RemotePath]) async {
        for move in (try? await self.staging.journal.moves()) ?? [] {
            switch move.kind {
            case .file:
                guard paths.contains(where: { $0 == move.source || $0 == move.target }) else { continue }
                self.log(
                    "the rename of a file that an earlier mount began is given up: its old name is there",
                    move
                )
                self.staging.journal.finishMove(move.id)
            case .directory:
                // Queued before the first upload, so that no crash leaves the one without the other.
                guard move.stage == .copying else { continue }
                for copy in paths.compactMap(move.destination) where move.copied[copy] != nil {
                    self.staging.journal.forgetCopied(copy, in: move.id)
                }
            }
        }
    }

    private func recover(
        _ leftovers: [StagingStore.Leftover],
        in path: RemotePath,
        _ places: AsyncSemaphore
    ) async -> RemoteError? {
        do throws(RemoteError) {
            guard let directory = try await self.findDirectory(path) else {
                for leftover in leftovers { self.keep(leftover, "its directory is gone from the server") }
                return nil
            }
            defer { self.namespace.unpin(directory) }
            // Of two for one name the later one is what the name stood for.
            var byName: [FileName: [StagingStore.Leftover]] = [:]
            for leftover in leftovers {
                if let name = leftover.record.path?.name { byName[name, default: []].append(leftover) }
            }
            let failures = await withTaskGroup(of: RemoteError?.self) { group in
                for (name, leftovers) in byName {
                    group.addTask {
                        do { try await places.acquire() } catch { return .cancelled }
                        defer { places.release() }
                        do throws(RemoteError) {
                            for leftover in leftovers.dropLast() {
                                self.keep(leftover, "a later file of its name was there")
                            }
                            if let last = leftovers.last { try await self.recover(last, name, in: directory) }
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                var failures: [RemoteError] = []
                for await failure in group { if let failure { failures.append(failure) } }
                return failures
            }
            return failures.first { $0 != .cancelled } ?? failures.first
        } catch {
            return error
        }
    }

    /// The directory of a path, pinned; nothing if it is gone.
    func findDirectory(_ path: RemotePath) async throws(RemoteError) -> InodeNumber? {
        var directory = InodeNumber.root
        self.namespace.pin(directory)
        for name in path.components {
            let parent = directory
            defer { self.namespace.unpin(parent) }
            let state: NameState
            do throws(RemoteError) {
                state = try await self.namespace.resolve(name, in: parent)
            } catch .notFound {
                return nil
            }
            guard case .present(let inode, .directory, _) = state,
                self.namespace.known(name, in: parent)?.inode == inode, self.namespace.pin(inode)
            else { return nil }
            directory = inode
        }
        return directory
    }

    /// Puts what was left of a file in its place.
    private func recover(
        _ leftover: StagingStore.Leftover,
        _ name: FileName,
        in parent: InodeNumber
    ) async throws(RemoteError) {
        let found = try await self.find(name, in: parent)
        defer { if let found, found.version != nil { self.namespace.unpin(found.inode) } }
        let (record, file) = (leftover.record, leftover.file)
        if record.state == .unverified, let version = found?.version, version.size == record.size,
            version.size != record.baseSize, !record.replacesUnknown
        {
            // The answer to the last call was lost, but not the call.
            file.discard()
            return
        }
        let size = found?.version?.size
        // An upload of it that was completed has the same bytes where none are here. Where nothing is there nobody has the
        // rest: it may have been about to be deleted.
        if !file.isWhole, size == nil || size != record.baseSize && size != record.completingSize {
            return self.keep(leftover, "the file on the server is another one, and it has bytes of this one")
        }
        let inode: InodeNumber
        if let found, found.version != nil {
            inode = found.inode
        } else if found == nil {
            inode = self.namespace.addLocalFile(name, in: parent, at: .now())
        } else {
            // A directory has its name.
            guard let copy = self.unusedConflictName(of: name, in: parent) else {
                return self.keep(leftover, "a directory on the server has its name")
            }
            inode = self.namespace.addLocalFile(copy, in: parent, at: .now())
        }
        self.adopt(leftover, as: inode, over: found?.version)
        await self.namespace.recallAttributes(of: inode, size: file.size)
        if found?.version == nil { self.namespace.unpin(inode) }
    }

    /// What the service has under a name: nothing, a file with its version, pinned, or a directory.
    private func find(
        _ name: FileName,
        in parent: InodeNumber
    ) async throws(RemoteError) -> (inode: InodeNumber, version: FileVersion?)? {
        guard case .present(let inode, let kind, _) = try await self.namespace.resolve(name, in: parent)
        else {
            return nil
        }
        guard kind == .file else { return (inode, nil) }
        guard self.namespace.known(name, in: parent)?.inode == inode, self.namespace.pin(inode) else {
            return nil
        }
        do throws(RemoteError) {
            return (inode, try await self.namespace.version(of: inode))
        } catch {
            self.namespace.unpin(inode)
            if error == .notFound { return nil }
            throw error
        }
    }

    private func unusedConflictName(of name: FileName, in parent: InodeNumber) -> FileName? {
        (1...1000).lazy
            .map { Self.conflictName(of: name, at: Int(FileTime.now().seconds), $0) }
            .first { self.namespace.known($0, in: parent) == nil }
    }

    /// Makes a staged file the content of a name; what conflicts with the service's file is found out at its upload.
    private func adopt(_ leftover: StagingStore.Leftover, as inode: InodeNumber, over version: FileVersion?) {
        let (record, file) = (leftover.record, leftover.file)
        let namespace = self.namespace
        let content = self.use(inode)
        content.state.withLock { state in
            state.staged = file
            state.base = version
            state.isRecovered = true
            state.sizeInDoubt = record.completingSize
            // Then nothing else was in doubt.
            if record.state == .unverified, record.completingSize ?? record.size == record.size {
                state.sizeInDoubt = nil
                state.doubt(StagedBytes(file, file.snapshot))
            }
        }
        file.follow { namespace.path(of: inode) }
        if let path = namespace.path(of: inode), path != record.path, let old = record.path {
            self.staging.journal.together {
                self.staging.journal.move(from: old, to: path)
                file.setBase(size: nil)
            }
        }
        if let upload = record.upload, let path = record.path {
            let subject = UploadProgress.Subject(
                staged: file,
                snapshot: file.snapshot,
                base: version?.content,
                path: path
            )
            content.progress.restore(upload, of: subject)
        }
        namespace.didWrite(inode, size: file.size, at: FileTime(seconds: record.time, nanoseconds: 0))
        if record.state == .failed { file.recordPending() }
        self.enqueue(content)
        self.endUse(content, uploadsRest: false)
    }

    private func keep(_ leftover: StagingStore.Leftover, _ reason: String) {
        let kept = leftover.file.keepForRecovery(reason)
        self.logger.warning(
            "bytes that an earlier mount did not upload are kept for tetherfs recover",
            metadata: [
                "path": "\(leftover.record.path?.description ?? "?")", "cause": "\(reason)",
                "file": "\(kept)",
            ]
        )
    }
}
