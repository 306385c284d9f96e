import Inodes
import Primitives
import RemoteAPI
import Staging
import WireFormat

extension FileSystem {
    /// Copies a directory to its new name, then deletes the old one; the caller has it alone.
    ///
    /// - Throws: `.crossesDevices` if it is too large, before anything is changed.
    func renameDirectory(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        var targetIsThere = false
        if case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent) {
            guard target != inode else { return }
            guard replaces else { throw .exists }
            guard kind == .directory else { throw .notDirectory }
            try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(target) }
            guard self.namespace.isKnownEmpty(target) else { throw .notEmpty }
            targetIsThere = true
        }
        guard let from = self.namespace.path(of: inode),
            let to = self.namespace.path(of: new.parent)?.appending(new.name)
        else { throw .noSuchFile }
        let total = try await self.measure(inode, limit: self.options.renameLimit)
        let move = DirectoryMove(
            self.staging.journal,
            from: from,
            to: to,
            total: total,
            tell: self.showRename
        )
        defer { move.end() }
        if !targetIsThere { move.willMake(to) }
        try await move.commit()
        if !targetIsThere {
            try await self.fail { () throws(RemoteError) in try await self.remote.makeDirectory(to) }
            // Nobody goes in before it is the directory that moves: a listing would show it as another one.
            self.namespace.hide(new.name, in: new.parent)
        }
        let root = CopiedDirectory(inode, from: from, to: to, isMade: !targetIsThere)
        try await self.carryOut(move, root, old, new)
    }

    private func showRename(_ id: Int64, _ text: String?) { self.renames.withLock { $0[id] = text } }

    /// Moves a directory; the new one is there, and hidden if it was made for that.
    private func carryOut(
        _ move: DirectoryMove,
        _ root: CopiedDirectory,
        _ old: Place,
        _ new: Place
    ) async throws(FileSystemError) {
        var isHidden = root.isMade
        defer { if isHidden { self.namespace.unhide(new.name, in: new.parent) } }
        do throws(FileSystemError) {
            try await self.persisting(move) { () throws(FileSystemError) in
                root.begin()
                move.restart()
                try await self.copyTree(root, move)
            }
        } catch {
            // The original is whole; what was copied is ours to take back.
            try? await self.deleteCopied(root, at: \.to, isTakenBack: true)
            self.namespace.expireListing(new.parent)
            throw error
        }
        // The new place is whole: whoever reads goes there from now on, and so does what waits here.
        self.staging.journal.together {
            move.willDelete()
            self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        }
        if isHidden { self.namespace.unhide(new.name, in: new.parent) }
        isHidden = false
        do throws(FileSystemError) {
            // Else a power failure could leave records of what waits here that name a place which is gone.
            try await move.commit()
            try await self.persisting(move) { () throws(FileSystemError) in
                try await self.deleteCopied(root, at: \.from, move)
            }
            self.namespace.remove(old.name, in: old.parent, at: .now())
        } catch {
            // What is left at the old place shows in the next listing.
            self.namespace.expireListing(old.parent)
            throw error
        }
    }

    // MARK: How much it is

    /// Adds up what is below a directory: sizes are asked for 64 at once, until there are more bytes than a limit.
    private func measure(_ directory: InodeNumber, limit: UInt64) async throws(FileSystemError)
        -> DirectorySize
    {
        var total = DirectorySize()
        try await self.measure(directory, into: &total, limit: limit)
        return total
    }

    private func measure(
        _ directory: InodeNumber,
        into total: inout DirectorySize,
        limit: UInt64
    ) async throws(FileSystemError) {
        self.namespace.pin(directory)
        defer { self.namespace.unpin(directory) }
        try await self.fail { () throws(RemoteError) in try await self.namespace.refresh(directory) }
        // They could neither be copied nor may they be deleted.
        if self.namespace.holdsRefusedNames(directory) { throw .notSupported }
        let children = self.namespace.snapshot(directory)
        let files = children.filter { $0.kind == .file && self.namespace.isOnServer($0, in: directory) }
        for start in stride(from: 0, to: files.count, by: 64) {
            let sizes: [Result<UInt64, FileSystemError>] = await withTaskGroup(
                of: Result<UInt64, FileSystemError>.self
            ) { group in
                for file in files[start..<min(start + 64, files.count)] {
                    group.addTask {
                        do throws(FileSystemError) {
                            return .success(try await self.size(of: file, in: directory))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for size in sizes {
                total.fileCount += 1
                total.byteCount += try size.get()
            }
            if total.byteCount > limit { throw .crossesDevices }
        }
        for child in children where child.kind == .directory {
            // Also makes the number known where nobody has looked it up yet.
            guard self.namespace.known(child.name, in: directory)?.inode == child.inode,
                self.namespace.pin(child.inode)
            else { throw .changedOnServer }
            defer { self.namespace.unpin(child.inode) }
            try await self.measure(child.inode, into: &total, limit: limit)
        }
    }

    private func size(of file: Namespace.Dirent, in directory: InodeNumber) async throws(FileSystemError)
        -> UInt64
    {
        guard self.namespace.known(file.name, in: directory)?.inode == file.inode,
            self.namespace.pin(file.inode)
        else { throw .changedOnServer }
        defer { self.namespace.unpin(file.inode) }
        return try await self.version(of: file.inode).size
    }

    // MARK: After a crash

    /// Goes on with the rename of a directory, in the background; the directories are held when this returns.
    func resumeDirectory(_ noted: Journal.Move) async {
        let isHeld = OneShot<Void>()
        Task {
            do throws(FileSystemError) {
                switch noted.stage {
                case .copying: try await self.resumeCopying(noted) { isHeld.resolve(()) }
                case .deleting: try await self.resumeDeleting(noted) { isHeld.resolve(()) }
                }
                self.log("the rename of a directory that an earlier mount began is over", noted)
            } catch {
                self.log("the rename of a directory that an earlier mount began is given up", noted, error)
            }
            self.staging.journal.finishMove(noted.id)
            isHeld.resolve(())
        }
        _ = await isHeld.wait()
    }

    private func resumeCopying(
        _ noted: Journal.Move,
        _ isHeld: @Sendable () -> Void
    ) async throws(FileSystemError) {
        guard let old = try await self.pinnedPlace(of: noted.source) else { return }
        defer { self.namespace.unpin(old.parent) }
        guard let new = try await self.pinnedPlace(of: noted.target) else { return }
        defer { self.namespace.unpin(new.parent) }
        guard case .present(let directory, .directory, _) = try await self.state(of: old.name, in: old.parent)
        else { return }
        // Makes their numbers known.
        let target = self.namespace.known(new.name, in: new.parent)
        guard self.namespace.known(old.name, in: old.parent)?.inode == directory, target?.kind != .file else {
            return
        }
        let alone = Set([directory, target?.inode].compactMap(\.self))
        try await self.changingNames([old.key, new.key], moving: alone) { () throws(FileSystemError) in
            let isMade = noted.copied[noted.target] != nil
            // It is there if this one or the other name is; whoever looks sees the old one until all is copied.
            if isMade { self.namespace.hide(new.name, in: new.parent) }
            isHeld()
            let root = CopiedDirectory(directory, from: noted.source, to: noted.target, isMade: isMade)
            do throws(FileSystemError) {
                let total = try await self.persisting { () throws(FileSystemError) in
                    try await self.measure(directory, limit: .max)
                }
                let move = DirectoryMove(
                    self.staging.journal,
                    resuming: noted,
                    total: total,
                    tell: self.showRename
                )
                defer { move.end() }
                if isMade {
                    try await self.persisting { () throws(FileSystemError) in
                        try await self.makeDirectory(noted.target, move)
                    }
                }
                try await self.carryOut(move, root, old, new)
            } catch {
                if isMade { self.namespace.unhide(new.name, in: new.parent) }
                throw error
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
            isHeld()
            let root = CopiedDirectory(noted)
            let move = DirectoryMove(
                self.staging.journal,
                resuming: noted,
                total: root.total,
                tell: self.showRename
            )
            defer { move.end() }
            try await self.persisting(move) { () throws(FileSystemError) in
                try await self.deleteCopied(root, at: \.from, move)
            }
        }
    }

    /// How long one that an earlier mount began is tried again without getting on: who wants to change something below its
    /// directory waits.
    private static let persistence = Duration.seconds(300)

    /// Does a step of a rename; if an earlier mount began that, again and again while what it fails with may pass: what
    /// ended that mount may not be over, and nobody is told who could begin it anew.
    private func persisting<Value>(
        _ move: DirectoryMove? = nil,
        _ step: () async throws(FileSystemError) -> Value
    ) async throws(FileSystemError) -> Value {
        var (failedAt, fileCount): (ContinuousClock.Instant?, Int) = (nil, 0)
        var pause = Duration.milliseconds(500)
        while true {
            do throws(FileSystemError) {
                return try await step()
            } catch {
                guard move?.isResumed != false, error.mayPass, error != .interrupted else { throw error }
                let now = ContinuousClock.now
                if let move, move.fileCount > fileCount {
                    (failedAt, fileCount, pause) = (nil, move.fileCount, .milliseconds(500))
                }
                if failedAt.map({ now - $0 > Self.persistence }) ?? false { throw error }
                if failedAt == nil {
                    self.logger.warning(
                        "the rename of a directory that an earlier mount began is held up",
                        metadata: ["cause": "\(error)"]
                    )
                }
                failedAt = failedAt ?? now
            }
            do { try await Task.sleep(for: pause) } catch { throw .interrupted }
            pause = min(pause * 2, .seconds(30))
        }
    }
}
