import Inodes
import Primitives
import RemoteAPI
import Staging
import SystemPackage
import WireFormat

/// What the kernel is told of a name.
public enum LookupReply: Sendable {
    /// It is there; the lookup was counted.
    case entry(FileAttributes, nameValidFor: Duration, attributesValidFor: Duration)
    /// It is not there.
    case absent(validFor: Duration)
}

/// An answer from memory, or the word that the service must be asked.
public enum Immediate<Value: Sendable>: Sendable {
    /// The answer.
    case now(Value)
    /// The `async` function of the same name has it.
    case later
}

extension FileSystem {
    /// Looks a name up in memory.
    public func lookupNow(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8>
    ) throws(FileSystemError) -> Immediate<LookupReply> {
        guard name.count <= FileName.maximumByteCount else { throw .nameTooLong }
        // A name that the API cannot carry is in no directory.
        guard let name = FileName(bytes: name) else { return .now(.absent(validFor: .seconds(3600))) }
        switch self.namespace.peek(name, in: parent) {
        case .unknown: return .later
        case .noDirectory: throw .noSuchFile
        case .absent(let validFor): return .now(.absent(validFor: validFor))
        case .present(let inode, _, let validFor):
            guard let reply = self.entry(inode, validFor: validFor) else { return .later }
            return .now(reply)
        }
    }

    /// Looks a name up, asking the service for what is not known.
    public func lookup(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable
    ) async throws(FileSystemError) -> LookupReply {
        let name = try self.name(name)
        while true {
            let state = try await self.fail { () throws(RemoteError) in
                try await self.namespace.resolve(name, in: parent)
            }
            switch state {
            case .unknown, .noDirectory: throw .noSuchFile
            case .absent(let validFor): return .absent(validFor: validFor)
            case .present(let inode, _, let validFor):
                // If the kernel forgot it in this moment, it is found again.
                if let reply = self.entry(inode, validFor: validFor) { return reply }
            }
        }
    }

    /// What the kernel is told of a name that is there; counted as a lookup. Nothing if it is gone by now.
    ///
    /// A file's size is not asked for here: where it is not known, the attributes hold for no time, and the kernel asks
    /// for them before it opens the file or shows it (it looks at the modes then, see default_permissions). So that
    /// listing names and removing files asks for no sizes.
    private func entry(_ inode: InodeNumber, validFor: Duration) -> LookupReply? {
        let known = self.getattrNow(inode)
        guard let counted = self.namespace.countLookup(inode) else { return nil }
        // The kernel asks no more: this may have been a stat.
        if known != nil { self.namespace.noteSizeAsked(inode, isKnown: true) }
        let attributes = known?.0 ?? counted
        self.namespace.tell(inode, size: attributes.size)
        return .entry(
            attributes,
            nameValidFor: validFor,
            attributesValidFor: known?.validFor ?? .zero
        )
    }

    /// What stat(2) shows, if it is known; the kernel is told.
    ///
    /// - Parameters:
    ///   - inode: Of what.
    ///   - isOpen: Whether the kernel asks on behalf of who has it open. It does so before each read(2) if attributes hold
    ///     for no time, and a request for each would cost more than the bytes: then a size is believed for a second.
    /// - Returns: The attributes, and how long they may be believed.
    public func getattrNow(
        _ inode: InodeNumber,
        isOpen: Bool = false
    ) -> (FileAttributes, validFor: Duration)? {
        guard let known = self.knownAttributes(inode, sizeWithin: isOpen ? .seconds(1) : .zero) else {
            return nil
        }
        self.namespace.tell(inode, size: known.0.size)
        return known
    }

    private func knownAttributes(
        _ inode: InodeNumber,
        sizeWithin age: Duration
    ) -> (FileAttributes, validFor: Duration)? {
        // What is staged first: it is clean only once the version that it became is known, which is then the one to
        // show. The times last: a size that comes in between is not shown with the times of the one before.
        let known = self.namespace.knownVersion(of: inode)
        let content = self.existingContent(of: inode)
        let staged = content?.currentStaged(known: known)?.file
        let isStaged = staged?.isDirty == true || content?.isOnItsOwn == true
        let fresh = self.namespace.freshVersion(of: inode, orWithin: age)
        guard var attributes = self.namespace.attributes(of: inode) else { return nil }
        guard attributes.kind == .file else { return (attributes, self.namespace.timeToLive) }
        if isStaged, let staged {
            attributes.size = staged.size
            return (attributes, self.namespace.timeToLive)
        }
        guard let fresh else { return nil }
        attributes.size = fresh.size
        return (attributes, fresh.validFor)
    }

    /// A program stats a file; if it goes through a directory, the next ones' sizes are asked for too.
    public func noteStat(of inode: InodeNumber) {
        self.namespace.noteSizeAsked(inode)
    }

    /// What stat(2) shows, asking for the size if it is not known.
    ///
    /// The kernel asks for open(2) too, just before it opens: then the first bytes are asked for side by side.
    ///
    /// - Parameters:
    ///   - inode: Of what.
    ///   - opensForReading: Whether it is for open(2), and to read; nothing if that cannot be told.
    /// - Returns: The attributes, and how long they may be believed.
    /// - Throws: If it is gone, or its size cannot be had.
    public func getattr(
        _ inode: InodeNumber,
        opensForReading: () -> Bool? = { nil }
    ) async throws(FileSystemError) -> (FileAttributes, validFor: Duration) {
        if let known = self.getattrNow(inode) { return known }
        let head = self.ahead.guessRead(of: inode, isCertain: opensForReading)
        let version: FileVersion
        do throws(FileSystemError) {
            version = try await self.version(of: inode)
        } catch {
            head?.cancel()
            throw error
        }
        if let known = self.getattrNow(inode) { return known }
        guard var attributes = self.namespace.attributes(of: inode) else { throw .noSuchFile }
        attributes.size = version.size
        self.namespace.tell(inode, size: version.size)
        return (attributes, version.validFor)
    }

    /// Sets what can be set from memory alone: everything but a file's size.
    public func setattr(
        _ inode: InodeNumber,
        _ change: AttributeChange
    ) throws(FileSystemError) {
        guard self.namespace.kind(of: inode) != nil else { throw .noSuchFile }
        self.namespace.setAttributes(of: inode, change, at: .now())
    }

    /// Cuts a file or lets it grow with zeros.
    ///
    /// Through a handle the new size is uploaded when that is flushed; by path (truncate(2)) before this returns, or, where
    /// writes wait here, it is on the local disk for good.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - size: Its new size in bytes.
    ///   - handle: The handle, if there is one.
    ///   - process: Which process changes it through the handle; 0 if it is not known, nothing where opening it does.
    /// - Throws: Why it was not done, or, by path, why the result is not on the service; it is kept here then.
    public func truncate(
        _ inode: InodeNumber,
        to size: UInt64,
        through handle: FileHandle?,
        by process: Int32? = nil
    ) async throws(FileSystemError) {
        guard size <= self.maximumFileByteCount else { throw .fileTooLarge }
        let content = self.use(inode)
        defer { self.endUse(content) }
        try handle?.checkLoss()
        if self.isNow(content, size) {
            // Nothing to upload: `> FILE` on an empty one, say.
            self.namespace.touch(inode, at: .now())
            self.namespace.tell(inode, size: size)
            return
        }
        try await self.modify(content, through: handle, emptied: size == 0, cuttingTo: size) {
            staged throws(Errno) in
            try staged.truncate(to: size, keepingPromise: !content.isUnlinked)
        }
        // Also where it was emptied by open(2), which tells the kernel nothing more.
        self.namespace.tell(inode, size: size)
        if let process { handle?.writers.withLock { $0.insert(process) } }
        if handle == nil { try await self.save(content) }
    }

    /// Whether a file is so long, and no write to it waits.
    private func isNow(_ content: FileContent, _ size: UInt64) -> Bool {
        guard content.laterWrites.tryEnterShared() else { return false }
        defer { content.laterWrites.leaveShared() }
        return !content.isDirty && !content.isUnlinked
            && self.namespace.freshVersion(of: content.inode)?.size == size
    }

    /// The kernel forgets what it was told so many times.
    public func forget(_ inode: InodeNumber, count: UInt64) {
        self.namespace.forget(inode, count: count)
        if let content = self.existingContent(of: inode), content.isUnlinked { self.letGo(content) }
    }
}
