import Inodes
import Primitives
import RemoteAPI
import Staging
import WireFormat

// The rename of a directory that an earlier mount began.

extension FileSystem {
    /// Goes on with the rename of a directory, in the background; the directories are held when this returns.
    ///
    /// - Throws: Why the service cannot say where they are: the rename is left to the next mount then, and nothing below
    ///   them may be changed by this one.
    func resumeDirectory(_ noted: Journal.Move) async throws(FileSystemError) {
        let isHeld = OneShot<Result<Void, FileSystemError>>()
        Task {
            do throws(FileSystemError) {
                switch noted.stage {
                case .copying: try await self.resumeCopying(noted) { isHeld.resolve(.success(())) }
                case .deleting: try await self.resumeDeleting(noted) { isHeld.resolve(.success(())) }
                }
                self.log("the rename of a directory that an earlier mount began is over", noted)
            } catch {
                if error.mayPass, isHeld.resolve(.failure(error)) { return }
                self.log("the rename of a directory that an earlier mount began is given up", noted, error)
            }
            // Also if it is given up: what is changed below the directories from now on, no later mount could tell from
            // what was copied before.
            self.staging.journal.finishMove(noted.id)
            try? await self.commitJournal()
            isHeld.resolve(.success(()))
        }
        try await isHeld.wait()?.get()
    }

    private func resumeCopying(
        _ noted: Journal.Move,
        _ isHeld: @Sendable () -> Void
    ) async throws(FileSystemError) {
        guard let old = try await self.pinnedPlace(of: noted.source) else { return }
        defer { self.namespace.unpin(old.parent) }
        guard let new = try await self.pinnedPlace(of: noted.target) else { return }
        defer { self.namespace.unpin(new.parent) }
        // Makes their numbers known.
        _ = try await self.state(of: new.name, in: new.parent)
        let target = self.namespace.known(new.name, in: new.parent)
        guard
            case .present(let directory, .directory, _) = try await self.state(of: old.name, in: old.parent),
            self.namespace.known(old.name, in: old.parent)?.inode == directory, target?.kind != .file
        else { return }
        let alone = Set([directory, target?.inode].compactMap(\.self))
        try await self.changingNames([old.key, new.key], moving: alone) { () throws(FileSystemError) in
            let isMade = noted.copied[noted.target] != nil
            // It is there if this one or the other name is; whoever looks sees the old one until all is copied.
            if isMade { self.namespace.hide(new.name, in: new.parent) }
            let root = CopiedDirectory(
                directory,
                from: noted.source,
                to: noted.target,
                isMade: isMade,
                replacing: isMade ? nil : target?.inode
            )
            let copies = noted.copied.keys.filter { $0.parent == noted.target }
            self.hideCopies(copies.compactMap(\.name), in: root)
            let move = DirectoryMove(
                self.staging.journal,
                resuming: noted,
                holding: alone,
                tell: self.showRename
            )
            isHeld()
            try await move.ending { () throws(FileSystemError) in
                do throws(FileSystemError) {
                    try await self.persisting(move) { () throws(FileSystemError) in
                        move.didMeasure(try await self.measure(directory, limit: .max))
                        if isMade { try await self.makeDirectory(noted.target, move) }
                    }
                } catch {
                    await self.takeBack(root, move)
                    self.unhideCopies(in: root)
                    if isMade { self.namespace.unhide(new.name, in: new.parent) }
                    throw error
                }
                try await self.carryOut(move, root, old, new)
            }
        }
    }

    private func resumeDeleting(
        _ noted: Journal.Move,
        _ isHeld: @Sendable () -> Void
    ) async throws(FileSystemError) {
        guard let old = try await self.pinnedPlace(of: noted.source) else { return }
        defer { self.namespace.unpin(old.parent) }
        guard
            case .present(let directory, .directory, _) = try await self.state(of: old.name, in: old.parent),
            self.namespace.known(old.name, in: old.parent)?.inode == directory
        else { return }
        try await self.changingNames([old.key], moving: [directory]) { () throws(FileSystemError) in
            // What is left of it is seen by nobody.
            self.namespace.hide(old.name, in: old.parent)
            defer {
                self.namespace.unhide(old.name, in: old.parent)
                self.namespace.expireListing(old.parent)
            }
            let isMade = noted.copied[noted.target] != nil
            let nowhere = CopiedDirectory(nil, from: noted.source, to: noted.target, isMade: isMade)
            let root = CopiedDirectory(nowhere, noted.copied) { _, _ in nil }
            let move = DirectoryMove(
                self.staging.journal,
                resuming: noted,
                holding: [directory],
                tell: self.showRename
            )
            move.didMeasure(root.total)
            isHeld()
            try await move.ending { () throws(FileSystemError) in
                try await self.persisting(move) { () throws(FileSystemError) in
                    try await self.deleteCopied(root, at: \.from, move)
                }
            }
        }
    }

    /// Does a step of a rename; if an earlier mount began that, again and again while what it fails with may pass: what
    /// ended that mount may not be over, and nobody is told who could begin it anew.
    func persisting<Value>(
        _ move: DirectoryMove,
        _ step: () async throws(FileSystemError) -> Value
    ) async throws(FileSystemError) -> Value {
        var (failedAt, fileCount): (ContinuousClock.Instant?, Int) = (nil, 0)
        var pause = Duration.milliseconds(500)
        defer { self.noteHeldUp(move, by: nil) }
        while true {
            do throws(FileSystemError) {
                return try await step()
            } catch {
                guard move.isResumed, error.mayPass, error != .interrupted else { throw error }
                let now = ContinuousClock.now
                if move.fileCount > fileCount {
                    (failedAt, fileCount, pause) = (nil, move.fileCount, .milliseconds(500))
                }
                if failedAt.map({ now - $0 > self.options.persistence }) ?? false { throw error }
                if failedAt == nil {
                    self.logger.warning(
                        "the rename of a directory that an earlier mount began is held up",
                        metadata: ["cause": "\(error)"]
                    )
                }
                failedAt = failedAt ?? now
                self.noteHeldUp(move, by: error)
            }
            do { try await Task.sleep(for: pause) } catch { throw .interrupted }
            pause = min(pause * 2, .seconds(30))
        }
    }

    /// Notes whether a rename that holds its directories gets on: nobody who wants all to be uploaded waits for what waits
    /// below them while it does not, as the next mount can go on with both.
    private func noteHeldUp(_ move: DirectoryMove, by error: FileSystemError?) {
        self.heldUpDirectories.withLock { held in
            for directory in move.held { held[directory] = error }
        }
        guard error != nil else { return }
        self.queue.endWaits(for: Set(self.dirtyContents.filter { self.holdUp(of: $0) != nil }.map(\.inode)))
    }

    /// What a rename met that holds up the upload of a file; nothing if none does.
    func holdUp(of content: FileContent) -> FileSystemError? {
        guard let (parent, _) = self.namespace.location(of: content.inode) else { return nil }
        let held = self.heldUpDirectories.withLock { $0 }
        return held.isEmpty ? nil : self.namespace.ancestors(of: parent).lazy.compactMap { held[$0] }.first
    }
}
