import CFuse
import Glibc
import Inodes
import Primitives
import VFS

// Requests about directories.

extension FuseOperations {
    static func setDirectories(_ table: inout fuse_lowlevel_ops) {
        table.mkdir = { request, parent, name, mode in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.mkdir(request, InodeNumber(parent), FuseOperations.name(name), mode)
        }
        table.rmdir = { request, parent, name in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.rmdir(request, InodeNumber(parent), FuseOperations.name(name))
        }
        table.opendir = { request, inode, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.opendir(request, InodeNumber(inode), info.pointee)
        }
        table.readdir = { request, inode, size, offset, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.readdir(request, InodeNumber(inode), size, offset, info.pointee, isPlus: false)
        }
        table.readdirplus = { request, inode, size, offset, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.readdir(request, InodeNumber(inode), size, offset, info.pointee, isPlus: true)
        }
        table.releasedir = { request, _, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            if let handle = DirectoryHandle.taking(info.pointee.fh) { driver.fileSystem.releasedir(handle) }
            fuse_reply_err(request, 0)
        }
        table.fsyncdir = { request, _, _, _ in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.later(request, "fsyncdir", changes: true) { () throws(FileSystemError) in
                try await driver.fileSystem.fsyncdir()
            }
        }
    }

    private func mkdir(_ request: fuse_req_t, _ parent: InodeNumber, _ name: [UInt8], _ mode: mode_t) {
        var attributes = AttributeChange()
        attributes.mode = mode & 0o7777
        let change = attributes
        self.later(
            request,
            "mkdir",
            changes: true,
            { () throws(FileSystemError) in
                try await self.fileSystem.mkdir(parent, name, attributes: change)
            },
            reply: Self.replyEntry,
            undo: { reply in
                self.forget(reply)
                self.forgetNames([(parent, name)])
            }
        )
    }

    private func rmdir(_ request: fuse_req_t, _ parent: InodeNumber, _ name: [UInt8]) {
        self.changeNames(request, "rmdir", [(parent, name)]) { () throws(FileSystemError) in
            try await self.fileSystem.rmdir(parent, name)
        }
    }

    private func opendir(_ request: fuse_req_t, _ inode: InodeNumber, _ info: fuse_file_info) {
        @Sendable func reply(_ request: fuse_req_t, _ handle: DirectoryHandle) -> Int32 {
            var info = info
            info.fh = handle.retainedNumber
            let code = fuse_reply_open(request, &info)
            if code != 0 { _ = DirectoryHandle.taking(info.fh) }
            return code
        }
        self.now(request, "opendir") { () throws(FileSystemError) in
            if let handle = try self.fileSystem.opendirNow(inode) {
                if reply(request, handle) != 0 { self.fileSystem.releasedir(handle) }
                return
            }
            self.later(
                request,
                "opendir",
                { () throws(FileSystemError) in try await self.fileSystem.opendir(inode) },
                reply: reply,
                undo: self.fileSystem.releasedir
            )
        }
    }

    private func readdir(
        _ request: fuse_req_t,
        _ inode: InodeNumber,
        _ size: Int,
        _ offset: off_t,
        _ info: fuse_file_info,
        isPlus: Bool
    ) {
        guard let handle = DirectoryHandle.at(info.fh) else {
            fuse_reply_err(request, EBADF)
            return
        }
        let fileSystem = self.fileSystem
        @Sendable func reply(_ request: fuse_req_t) -> Int32 {
            var page = DirectoryPage(inode, size, offset, isPlus: isPlus)
            defer { page.buffer.deallocate() }
            page.fill(request, handle, fileSystem)
            return fuse_reply_buf(request, page.buffer.bindMemory(to: CChar.self).baseAddress, page.used)
        }
        guard offset == 0, fileSystem.mustRelist(handle) else {
            _ = reply(request)
            return
        }
        self.later(
            request,
            "readdir",
            { () throws(FileSystemError) in try await fileSystem.relist(handle) },
            reply: { request, _ in reply(request) }
        )
    }
}

/// One answer to readdir: as many names as its size holds.
///
/// An offset is the index of the next name, `.` and `..` being the first two.
private struct DirectoryPage {
    let inode: InodeNumber
    let isPlus: Bool
    let buffer: UnsafeMutableRawBufferPointer
    var used = 0
    private var next: Int

    /// Takes the kernel's request; whoever makes a page frees its buffer.
    init(
        _ inode: InodeNumber,
        _ size: Int,
        _ offset: off_t,
        isPlus: Bool
    ) {
        self.inode = inode
        self.isPlus = isPlus
        self.buffer = .allocate(byteCount: max(size, 1), alignment: 8)
        self.next = Int(max(0, offset))
    }

    mutating func fill(_ request: fuse_req_t, _ handle: DirectoryHandle, _ fileSystem: FileSystem) {
        if self.next == 0 { fileSystem.rewinddir(handle) }
        let names = fileSystem.readdir(handle, from: max(0, self.next - 2))
        if self.next == 0, !self.addDots(request, ".", self.inode) { return }
        if self.next == 1, !self.addDots(request, "..", fileSystem.parent(of: self.inode)) { return }
        for name in names {
            guard self.add(request, name, fileSystem) else { return }
        }
    }

    private mutating func addDots(_ request: fuse_req_t, _ name: String, _ inode: InodeNumber) -> Bool {
        var entry = fuse_entry_param()
        entry.attr.st_ino = UInt(inode.rawValue)
        entry.attr.st_mode = S_IFDIR
        return self.add(request, name, entry)
    }

    private mutating func add(
        _ request: fuse_req_t,
        _ dirent: Namespace.Dirent,
        _ fileSystem: FileSystem
    ) -> Bool {
        // Number 0: the kernel learns the name and its type and asks for the rest when somebody wants it.
        var entry = fuse_entry_param()
        entry.attr.st_ino = UInt(dirent.inode.rawValue)
        entry.attr.st_mode = Replies.type(dirent.kind)
        guard self.isPlus else { return self.add(request, dirent.name.string, entry) }
        guard self.room >= fuse_add_direntry_plus(request, nil, 0, dirent.name.string, nil, 0) else {
            return false
        }
        // Counts as a lookup, so that it is asked for only once there is room.
        if let known = fileSystem.namespace.countKnownDirent(dirent, in: self.inode) {
            entry = Replies.entry(
                .entry(
                    known.attributes,
                    nameValidFor: known.nameValidFor,
                    attributesValidFor: known.attributesValidFor
                )
            )
        }
        return self.add(request, dirent.name.string, entry)
    }

    private mutating func add(_ request: fuse_req_t, _ name: String, _ entry: fuse_entry_param) -> Bool {
        var entry = entry
        let place = self.buffer.baseAddress?.advanced(by: self.used).assumingMemoryBound(to: CChar.self)
        let offset = off_t(self.next + 1)
        let count =
            self.isPlus
            ? fuse_add_direntry_plus(request, place, self.room, name, &entry, offset)
            : fuse_add_direntry(request, place, self.room, name, &entry.attr, offset)
        guard count <= self.room else { return false }
        self.used += count
        self.next += 1
        return true
    }

    private var room: Int { self.buffer.count - self.used }
}

extension DirectoryHandle {
    // The kernel holds a reference as a number, from opendir to releasedir.

    fileprivate var retainedNumber: UInt64 {
        UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque()))
    }

    fileprivate static func at(_ number: UInt64) -> DirectoryHandle? {
        UnsafeRawPointer(bitPattern: UInt(number)).map {
            Unmanaged<DirectoryHandle>.fromOpaque($0).takeUnretainedValue()
        }
    }

    fileprivate static func taking(_ number: UInt64) -> DirectoryHandle? {
        UnsafeRawPointer(bitPattern: UInt(number)).map {
            Unmanaged<DirectoryHandle>.fromOpaque($0).takeRetainedValue()
        }
    }
}
