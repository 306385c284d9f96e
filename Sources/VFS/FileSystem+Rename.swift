import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import SystemPackage
import WireFormat

/// One side of a rename.
struct Place {
    let parent: InodeNumber
    let name: FileName

    var key: NameKey { NameKey(parent: self.parent, name: self.name) }
}

extension FileSystem {
    /// Gives a file or directory another name, in place of what has that name.
    ///
    /// The API has no rename: a file is uploaded under its new name, from the bytes that are here as far as they are,
    /// and only then the old name is deleted. A crash in between leaves both names, never neither.
    ///
    /// - Parameters:
    ///   - parent: The directory it is in.
    ///   - name: Its name there.
    ///   - newParent: The directory it goes to.
    ///   - newName: Its name there.
    ///   - replaces: Whether it may take the place of what has that name (`false` for RENAME_NOREPLACE).
    /// - Throws: As rename(2); after a failure of the service both names may be there.
    public func rename(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable,
        to newParent: InodeNumber,
        _ newName: some Collection<UInt8> & Sendable,
        replaces: Bool
    ) async throws(FileSystemError) {
        let old = Place(parent: parent, name: try self.name(name))
        let new = Place(parent: newParent, name: try self.name(newName))
        let directory: InodeNumber? = try await self.changingNames([old.key, new.key]) {
            () throws(FileSystemError) in
            let (inode, kind) = try await self.present(old)
            if kind == .directory { return inode }
            try await self.renameFile(inode, old, new, replaces: replaces)
            return nil
        }
        guard let directory else { return }
        try self.checkNotInside(directory, new.parent)
        // Nothing may change below it while it is copied, nor in what it replaces, so that both are looked at again alone.
        let target = self.namespace.known(new.name, in: new.parent)?.inode
        let alone = Set([directory, target].compactMap(\.self))
        try await self.changingNames([old.key, new.key], moving: alone) { () throws(FileSystemError) in
            guard try await self.present(old) == (directory, .directory) else { throw .noSuchFile }
            // Again: another rename may have put the new place into it meanwhile.
            try self.checkNotInside(directory, new.parent)
            try await self.renameDirectory(directory, old, new, replaces: replaces)
        }
    }

    private func present(_ place: Place) async throws(FileSystemError) -> (InodeNumber, EntryKind) {
        guard case .present(let inode, let kind, _) = try await self.state(of: place.name, in: place.parent)
        else { throw .noSuchFile }
        return (inode, kind)
    }

    /// rename(2): a directory cannot go into itself.
    private func checkNotInside(_ directory: InodeNumber, _ parent: InodeNumber) throws(FileSystemError) {
        if self.namespace.ancestors(of: parent).contains(directory) { throw .invalidArgument }
    }

    private func renameFile(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replaces: Bool
    ) async throws(FileSystemError) {
        guard case .present(let target, let kind, _) = try await self.state(of: new.name, in: new.parent)
        else {
            return try await self.moveFile(inode, old, new, replacing: nil)
        }
        guard replaces else { throw .exists }
        guard kind == .file else { throw .isDirectory }
        // rename(2): two names of one file, here one name, do nothing.
        guard target != inode else { return }
        await self.letOneArrive(of: target)
        try await self.detaching(target, new) { target throws(FileSystemError) in
            try await self.moveFile(inode, old, new, replacing: target)
        }
    }

    /// Waits for the upload of a file that is about to be replaced, where those before it were replaced before they were
    /// uploaded, several in a row: else the service would not get any for as long as that goes on.
    private func letOneArrive(of target: InodeNumber) async {
        guard let content = self.existingContent(of: target),
            content.state.withLock({ $0.replacedCount >= 3 }),
            await self.queue.waitForUpload(of: target, atMost: self.options.longestWait)
        else { return }
        // One that does not arrive, or not soon, holds up no more than every fourth.
        content.state.withLock { $0.replacedCount = 0 }
    }

    private func moveFile(
        _ inode: InodeNumber,
        _ old: Place,
        _ new: Place,
        replacing target: FileContent?
    ) async throws(FileSystemError) {
        let content = self.use(inode)
        defer { self.endUse(content) }
        self.stopUpload(of: content)
        try await content.transfer.alone { () throws(FileSystemError) in
            try self.checkName(old, stillOf: inode)
            guard self.namespace.known(old.name, in: old.parent) != nil else { throw .noSuchFile }
            let isOnServer = try await self.mayBeOnServer(content, at: old)
            let path = self.namespace.path(of: old.parent)?.appending(old.name)
            // Only here yet, and still being written, or waiting here: it goes to its new name with its first upload.
            if !isOnServer, self.movesLocally(content) {
                // The rest of what is not whole was on the service, and is there no more: nothing else has it.
                guard content.waiting.allSatisfy(\.isWhole) else { throw .stale }
                if let target {
                    try await self.promise(content, asMuchAs: target)
                    await self.learnSize(of: target)
                    try await self.beginLeaving(target)
                }
                let isPromised = target?.waiting.contains(where: \.holdsPromise) == true
                // A journal that cannot be written is to be found out before anything is changed.
                if isPromised { try await self.commitJournal() }
                self.staging.journal.together {
                    self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
                    self.didMoveLocally(content, from: path, replacing: target)
                    // What waited under the new name is found no more once this is written, and not before.
                    for staged in target?.waiting ?? [] { staged.leaveJournal() }
                }
                // Whoever was told that the rename is done finds it done after a crash; and what was promised under the new
                // name goes only once no power failure brings back the record of it.
                if isPromised { try await self.commitJournal() }
                await self.staging.journal.written()
                return
            }
            try await self.moveOnServer(content, isOnServer ? path : nil, old, new, replacing: target)
            // It waits no more, if it did, as a temporary name does.
            if !content.isDirty { self.queue.hurry(inode) }
        }
        self.retain(content)
    }

    /// Moves a file of which the service has the bytes, or is to have them when this returns.
    private func moveOnServer(
        _ content: FileContent,
        _ path: RemotePath?,
        _ old: Place,
        _ new: Place,
        replacing target: FileContent?
    ) async throws(FileSystemError) {
        if let target { try await self.uploadMixed(target) }
        let noted = path.flatMap { self.note($0, to: new) }
        let result: Result<Void, FileSystemError>
        do throws(FileSystemError) {
            result = .success(
                try await self.moveOnServer(content, path, old, new, replacing: target, noted)
            )
        } catch {
            result = .failure(error)
        }
        if let noted {
            // Whatever comes: both names are there or only the new one now, and that is known.
            noted.finish()
            // Else a power failure brings it back, and the next mount would go on with it: by then the old name may be that
            // of another file. What cannot be written is said in the log, and tried again.
            try? await self.commitJournal()
        }
        try result.get()
    }

    private func moveOnServer(
        _ content: FileContent,
        _ path: RemotePath?,
        _ old: Place,
        _ new: Place,
        replacing target: FileContent?,
        _ noted: NotedRename?
    ) async throws(FileSystemError) {
        // A listing would show what is new there as another file.
        var isHidden = target == nil
        if isHidden { self.namespace.hide(new.name, in: new.parent) }
        defer { if isHidden { self.namespace.unhide(new.name, in: new.parent) } }
        let copied = try await self.copyOutrunningWriters(content, to: new, replacing: target, noted)
        noted?.isCopied()
        // The listing that shows it to be a file; asked for again below if it is too old by now.
        let isListed = self.namespace.isListed(old.parent)
        let sizeToCheck = self.sizeToCheck(content, copied)
        let waiting = content.waiting + (target?.waiting ?? [])
        let mayComeBack =
            self.staging.journal.mayBringBack || waiting.contains(where: self.isUploadedByNextMount)
        // The new name first: whoever reads goes to what is whole.
        self.staging.journal.together { self.move(content, old, new, copied, replacing: target) }
        if isHidden { self.namespace.unhide(new.name, in: new.parent) }
        isHidden = false
        if let path {
            // What waited under the new name must not come back over what may be the only one then, nor what waited
            // under the old one as if others had deleted that.
            do throws(FileSystemError) {
                if mayComeBack { try await self.commitJournal() }
            } catch {
                self.namespace.expireListing(old.parent)
                throw error
            }
            await self.staging.journal.written()
            try await self.deleteOldName(path, old, isListed: isListed, size: sizeToCheck)
        } else if mayComeBack {
            try? await self.commitJournal()
        }
    }

    /// Uploads what waits of a file that is about to be replaced, where some of its bytes are on the service alone: a later
    /// mount could not tell whether they still are.
    private func uploadMixed(_ target: FileContent) async throws(FileSystemError) {
        for staged in target.waiting where !staged.isWhole && self.isUploadedByNextMount(staged) {
            if target.former === staged {
                _ = try await self.uploadOnce(target, former: staged)
            } else {
                try await self.uploadHoldingTransfer(target)
            }
        }
    }

    /// Whether a mount that follows a crash uploads it, also after a power failure.
    func isUploadedByNextMount(_ staged: StagedFile) -> Bool {
        staged.isDirty && (staged.holdsPromise || staged.stage != .open)
    }

    /// Makes a file durable that takes the place of one of which bytes were promised, if none of its own were.
    private func promise(
        _ content: FileContent,
        asMuchAs target: FileContent
    ) async throws(FileSystemError) {
        guard target.waiting.contains(where: \.holdsPromise),
            !content.waiting.contains(where: \.holdsPromise), let staged = content.staged
        else { return }
        do throws(Errno) {
            try await self.makeDurable(staged, of: content)
        } catch {
            // Its own close has still to do it.
            content.state.withLock { $0.isUnsaved = true }
            throw .local(error)
        }
    }

    private func move(
        _ content: FileContent,
        _ old: Place,
        _ new: Place,
        _ copied: Copied,
        replacing target: FileContent?
    ) {
        self.namespace.move(old.name, in: old.parent, to: new.name, in: new.parent, at: .now())
        if let target { target.endLeaving(isGone: self.namespace.location(of: target.inode) == nil) }
        // The file vanished from a listing while it was copied: the next one shows its new name.
        guard self.namespace.known(new.name, in: new.parent)?.inode == content.inode else {
            if let target { self.forgetVersion(of: target) }
            // All of it is there, so that nothing is to be kept here.
            if let (staged, snapshot) = copied.staged {
                content.state.withLock { $0.discardFormer() }
                _ = staged.didUpload(snapshot)
            }
            return self.namespace.expireListing(new.parent)
        }
        guard let (staged, snapshot) = copied.staged, staged.isDirty else {
            // Without unsent bytes the content is the version that it was, unless another one was seen there since.
            if self.namespace.knownVersion(of: content.inode)?.content != copied.version {
                self.forgetVersion(of: content)
            }
            return
        }
        // The caller commits the journal.
        _ = self.didUpload(content, staged, snapshot)
    }

    /// The size in bytes that the service has to have of a file still that was copied to another name; nothing if that
    /// was seen within its time to live, or is not known.
    private func sizeToCheck(_ content: FileContent, _ copied: Copied) -> UInt64? {
        // What is known of one that waits here is the size that it has here.
        if content.isDirty { return copied.oldSize }
        return self.namespace.freshVersion(of: content.inode)?.size == copied.oldSize ? nil : copied.oldSize
    }

    /// Deletes a file's old name, if a listing within its time to live shows it to be a file.
    ///
    /// - Parameters:
    ///   - path: The old path.
    ///   - old: The old name.
    ///   - isListed: Whether there is such a listing.
    ///   - size: The size in bytes that it must have now: what has another one by now somebody else wrote there, and it
    ///     stays, as what comes there after the rename does; nothing if it need not be asked for.
    /// - Throws: Why both names may be there.
    private func deleteOldName(
        _ path: RemotePath,
        _ old: Place,
        isListed: Bool,
        size: UInt64?
    ) async throws(FileSystemError) {
        var isHidden = false
        defer { if isHidden { self.namespace.unhide(old.name, in: old.parent) } }
        do throws(RemoteError) {
            if !isListed {
                // One under way would leave out the name, as it is moved here.
                try await self.namespace.refreshAnew(old.parent)
                guard self.namespace.known(old.name, in: old.parent)?.kind == .file else { return }
            }
            // Whatever is listed meanwhile: what somebody writes to what is left there would be deleted.
            self.namespace.hide(old.name, in: old.parent)
            isHidden = true
            if let size, try await self.remote.size(of: path) != size {
                self.logger.warning(
                    "what another client wrote to a file's old name while it was renamed is left there",
                    metadata: ["path": "\(path)"]
                )
                return self.namespace.expireListing(old.parent)
            }
            try await self.remote.delete(path, kind: .file)
        } catch {
            // Both names may be there: the next listing shows it.
            self.namespace.expireListing(old.parent)
            // Gone already, or something else by now, which is not ours to take away.
            if error == .notFound || error == .changedKind { return }
            throw FileSystemError(error)
        }
        // Should a listing have brought it back meanwhile.
        self.namespace.remove(old.name, in: old.parent, at: .now())
    }
}
