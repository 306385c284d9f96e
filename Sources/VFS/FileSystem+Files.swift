import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import Staging
import SystemPackage
import WireFormat

/// How a file is opened.
public struct OpenMode: Sendable {
    /// For reading.
    public var reads: Bool
    /// For writing.
    public var writes: Bool
    /// Emptied first (O_TRUNC).
    public var truncates: Bool
    /// It must not be there yet (O_EXCL with O_CREAT).
    public var isExclusive: Bool

    /// Makes a mode.
    public init(reads: Bool, writes: Bool, truncates: Bool = false, isExclusive: Bool = false) {
        self.reads = reads
        self.writes = writes
        self.truncates = truncates
        self.isExclusive = isExclusive
    }
}

extension FileSystem {
    /// The largest file, in bytes.
    public var maximumFileByteCount: UInt64 { BlockGeometry.maximumFileByteCount }

    /// Opens a file whose size is known; nothing if it must be asked for first.
    ///
    /// - Returns: The handle, and whether the kernel may keep the pages that it has.
    public func openNow(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> (FileHandle, keepsPages: Bool)? {
        guard let kind = self.namespace.kind(of: inode) else { throw .stale }
        guard kind == .file else { throw .isDirectory }
        let existing = self.existingContent(of: inode)
        let isLocal = existing?.isDirty == true || existing?.isUnlinked == true
        guard isLocal || mode.truncates || self.namespace.freshVersion(of: inode) != nil else { return nil }
        if mode.truncates { return nil }
        let content = self.content(of: inode)
        content.state.withLock { $0.handleCount += 1 }
        let keepsPages = self.namespace.knownVersion(of: inode).map {
            self.namespace.serve($0.content, of: inode)
        }
        return (FileHandle(content, opener: process, isWritable: mode.writes), isLocal || keepsPages ?? false)
    }

    /// Opens a file.
    public func open(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) async throws(FileSystemError) -> (FileHandle, keepsPages: Bool) {
        if let opened = try self.openNow(inode, mode, by: process) { return opened }
        if !mode.truncates {
            _ = try await self.fail { () throws(RemoteError) in try await self.namespace.version(of: inode) }
        }
        let content = self.content(of: inode)
        content.state.withLock { $0.handleCount += 1 }
        let handle = FileHandle(content, opener: process, isWritable: mode.writes)
        if mode.truncates {
            do throws(FileSystemError) {
                try await self.truncate(inode, to: 0, through: handle)
            } catch {
                self.release(handle)
                throw error
            }
        }
        if let version = self.namespace.knownVersion(of: inode) {
            return (handle, self.namespace.serve(version.content, of: inode) && !mode.truncates)
        }
        return (handle, false)
    }

    /// Makes a file and opens it; it is on the service when it was first flushed.
    ///
    /// - Returns: What the kernel is told of the name, counted as a lookup, and the handle.
    public func create(
        _ parent: InodeNumber,
        _ name: some Collection<UInt8> & Sendable,
        mode: OpenMode,
        attributes: AttributeChange,
        by process: Int32
    ) async throws(FileSystemError) -> (LookupReply, FileHandle) {
        let name = try self.name(name)
        return try await self.changingNames([NameKey(parent: parent, name: name)]) {
            () throws(FileSystemError) in
            let (inode, isNew) = try await self.findOrAdd(name, in: parent, mode: mode, attributes)
            if isNew { return try self.openNew(inode, by: process) }
            let (handle, _) = try await self.open(inode, mode, by: process)
            do throws(FileSystemError) {
                let (attributes, validFor) = try await self.getattr(inode)
                guard self.namespace.countLookup(inode) != nil else { throw .noSuchFile }
                let nameValidFor = self.namespace.timeToLive
                return (.entry(attributes, nameValidFor: nameValidFor, attributesValidFor: validFor), handle)
            } catch {
                self.release(handle)
                throw error
            }
        }
    }

    private func findOrAdd(
        _ name: FileName,
        in parent: InodeNumber,
        mode: OpenMode,
        _ attributes: AttributeChange
    ) async throws(FileSystemError) -> (InodeNumber, isNew: Bool) {
        let state = try await self.fail { () throws(RemoteError) in
            try await self.namespace.resolve(name, in: parent)
        }
        switch state {
        case .unknown, .noDirectory: throw .noSuchFile
        case .present(_, .directory, _): throw mode.isExclusive ? .exists : .isDirectory
        case .present(let inode, .file, _):
            if mode.isExclusive { throw .exists }
            return (inode, false)
        case .absent:
            let inode = self.namespace.addLocalFile(name, in: parent, at: .now())
            self.namespace.setAttributes(of: inode, attributes, at: .now())
            return (inode, true)
        }
    }

    private func openNew(
        _ inode: InodeNumber,
        by process: Int32
    ) throws(FileSystemError) -> (LookupReply, FileHandle) {
        let content = self.content(of: inode)
        // `content(of:)` pins it too.
        self.namespace.unpin(inode)
        content.state.withLock { $0.handleCount += 1 }
        let handle = FileHandle(content, opener: process, isWritable: true)
        do throws(FileSystemError) {
            let staged = try self.stage(content, base: nil)
            do throws(Errno) { try staged.markDirty() } catch { throw .local(error) }
            guard let attributes = self.namespace.countLookup(inode) else { throw .noSuchFile }
            let validFor = self.namespace.timeToLive
            return (.entry(attributes, nameValidFor: validFor, attributesValidFor: validFor), handle)
        } catch {
            if let (parent, name) = self.namespace.location(of: inode) {
                self.namespace.remove(name, in: parent, at: .now())
            }
            content.state.withLock { $0.isUnlinked = true }
            self.release(handle)
            throw error
        }
    }

    /// The staged file that writes go to.
    ///
    /// - Parameter emptied: Whether nothing of the present bytes is wanted, so that their size need not be known.
    func stagedForWriting(_ content: FileContent, emptied: Bool) async throws(FileSystemError) -> StagedFile {
        if let staged = content.currentStaged(known: self.namespace.knownVersion(of: content.inode))?.file {
            return staged
        }
        if emptied { return try self.stage(content, base: nil) }
        let base = try await self.fail { () throws(RemoteError) in
            try await self.namespace.version(of: content.inode)
        }
        return try self.stage(content, base: base)
    }

    /// Writes bytes to a file whose size is known and that no upload holds still.
    ///
    /// - Returns: Whether it was done; else ``write(_:_:at:by:)`` does it.
    public func writeNow(
        _ handle: FileHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: UInt64,
        by process: Int32
    ) throws(FileSystemError) -> Bool {
        try self.checkEnd(offset, bytes.count)
        let content = handle.content
        guard content.writers.tryEnterShared() else { return false }
        defer { content.writers.leaveShared() }
        let known = self.namespace.knownVersion(of: content.inode)
        guard content.currentStaged(known: known) != nil || known != nil else { return false }
        let staged = try self.stage(content, base: known)
        handle.writers.withLock { _ = $0.processes.insert(process) }
        do throws(Errno) { try staged.write(bytes, at: offset) } catch { throw .local(error) }
        self.didWrite(content)
        return true
    }

    /// Writes bytes to a file, waiting for an upload that holds it still.
    public func write(
        _ handle: FileHandle,
        _ bytes: ByteBuffer,
        at offset: UInt64,
        by process: Int32
    ) async throws(FileSystemError) {
        try self.checkEnd(offset, bytes.count)
        let content = handle.content
        let staged = try await self.stagedForWriting(content, emptied: false)
        handle.writers.withLock { _ = $0.processes.insert(process) }
        let result = await content.writers.shared { () -> Result<Void, Errno> in
            do throws(Errno) {
                try staged.write(bytes.bytes, at: offset)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        if case .failure(let error) = result { throw .local(error) }
        self.didWrite(content)
    }

    private func checkEnd(_ offset: UInt64, _ count: Int) throws(FileSystemError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
        guard !overflow, end <= self.maximumFileByteCount else { throw .fileTooLarge }
    }

    /// Bytes of a file now wait here.
    func didWrite(_ content: FileContent) {
        guard !content.isUnlinked else { return }
        self.namespace.setHeld(content.inode, true)
        self.namespace.touch(content.inode, at: .now())
    }

    /// Makes room for a range (fallocate(2) with mode 0); the file grows to it.
    public func allocate(_ handle: FileHandle, _ range: Range<UInt64>) async throws(FileSystemError) {
        guard range.upperBound <= self.maximumFileByteCount else { throw .fileTooLarge }
        let staged = try await self.stagedForWriting(handle.content, emptied: false)
        let result = await handle.content.writers.shared { () -> Result<Void, Errno> in
            do throws(Errno) {
                try staged.allocate(range)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        if case .failure(let error) = result { throw .local(error) }
        self.didWrite(handle.content)
    }

    /// Closes a handle. What its last flush did not cover, such as pages of a mapping, is uploaded from here.
    public func release(_ handle: FileHandle) {
        let content = handle.content
        let isLast = content.state.withLock { state in
            state.handleCount -= 1
            return state.handleCount == 0
        }
        if isLast && content.isDirty && content.state.withLock({ $0.lastError }) == nil {
            Task { await self.uploadUntilClean(content) }
        } else {
            self.dropIfUnused(content)
        }
    }
}
