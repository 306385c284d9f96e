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
    /// - Parameters:
    ///   - inode: The file.
    ///   - mode: How it is opened.
    ///   - process: Which process opens it; 0 if it is not known.
    /// - Returns: The handle, and whether the kernel may keep the pages that it has.
    /// - Throws: If it is gone, or no file.
    public func openNow(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> (FileHandle, keepsPages: Bool)? {
        guard let kind = self.namespace.kind(of: inode) else { throw .stale }
        guard kind == .file else { throw .isDirectory }
        if mode.truncates { return nil }
        let content = self.existingContent(of: inode)
        let isLocal = content?.isDirty == true || content?.isUnlinked == true
        guard isLocal || self.namespace.freshVersion(of: inode) != nil,
            let handle = try self.makeHandle(inode, mode, by: process)
        else { return nil }
        // Its version may have ended just now: then the kernel has pages of that.
        guard let version = self.namespace.knownVersion(of: inode), !isLocal else {
            return (handle, isLocal && !handle.content.takePagesOfLost())
        }
        // The kernel does not ask for the bytes of an empty file.
        if mode.reads, version.size == 0, handle.noteRead() {
            self.ahead.didBeginReading(inode, size: 0, at: 0)
        }
        return (handle, self.namespace.serve(version.content, of: inode))
    }

    /// Makes a handle, unless the file's name is about to go.
    ///
    /// - Throws: `.stale` if it is gone: the kernel looks the name up again, of which the program sees nothing.
    private func makeHandle(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> FileHandle? {
        let content = self.use(inode)
        let reader = self.cache.makeReader()
        guard let handle = FileHandle(content, mode, opener: process, reader: reader) else {
            self.endUse(content)
            return nil
        }
        // Counted by now: who takes the name away after this brings its bytes here before.
        if self.namespace.location(of: inode) == nil, !content.outlivesItsName(for: mode) {
            self.release(handle)
            throw .stale
        }
        return handle
    }

    /// Makes a handle, waiting for the end of what takes the file's name away.
    private func makeHandleLater(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) async throws(FileSystemError) -> FileHandle {
        while true {
            if let handle = try self.makeHandle(inode, mode, by: process) { return handle }
            await self.existingContent(of: inode)?.transfer.shared {}
        }
    }

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - mode: How it is opened.
    ///   - process: Which process opens it; 0 if it is not known.
    /// - Returns: The handle, and whether the kernel may keep the pages that it has.
    /// - Throws: If it is gone, or its size cannot be had.
    public func open(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) async throws(FileSystemError) -> (FileHandle, keepsPages: Bool) {
        if let opened = try self.openNow(inode, mode, by: process) { return opened }
        let handle = try await self.makeHandleLater(inode, mode, by: process)
        do throws(FileSystemError) {
            if mode.truncates {
                try await self.truncate(inode, to: 0, through: handle)
                return (handle, false)
            }
            let version = try await self.version(of: inode)
            return (handle, self.namespace.serve(version.content, of: inode))
        } catch {
            self.release(handle)
            throw error
        }
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
            if isNew { return try self.openNew(inode, mode, by: process) }
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
            self.namespace.setInitialAttributes(of: inode, attributes, at: .now())
            return (inode, true)
        }
    }

    private func openNew(
        _ inode: InodeNumber,
        _ mode: OpenMode,
        by process: Int32
    ) throws(FileSystemError) -> (LookupReply, FileHandle) {
        let content = self.use(inode)
        // `use` pins it too.
        self.namespace.unpin(inode)
        let reader = self.cache.makeReader()
        guard let handle = FileHandle(content, mode, opener: process, reader: reader) else {
            self.endUse(content)
            throw .stale
        }
        do throws(FileSystemError) {
            _ = try self.stageEmpty(content)
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

    /// Closes a handle of which the kernel did not hear.
    public func takeBack(_ handle: FileHandle) {
        self.namespace.forgetServed(handle.content.inode)
        self.release(handle)
    }

    /// Closes a handle.
    public func release(_ handle: FileHandle) {
        let content = handle.content
        if handle.isReadable { content.state.withLock { $0.readerCount -= 1 } }
        handle.reader.close()
        if handle.isReadable, !handle.isWritable, handle.isUnread { self.ahead.didNotRead(content.inode) }
        self.endUse(content)
    }
}
