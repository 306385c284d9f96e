import CFuse
import Glibc
import Inodes
import Primitives
import VFS

// Requests about open files.

extension FuseOperations {
    static func setFiles(_ table: inout fuse_lowlevel_ops) {
        table.open = { request, inode, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.open(request, InodeNumber(inode), info.pointee)
        }
        table.create = { request, parent, name, mode, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.create(request, InodeNumber(parent), FuseOperations.name(name), mode, info.pointee)
        }
        table.mknod = { request, parent, name, mode, _ in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.mknod(request, InodeNumber(parent), FuseOperations.name(name), mode)
        }
        table.read = { request, inode, size, offset, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            let range = UInt64(offset)..<UInt64(offset) + UInt64(size)
            let isDirect = cfuse_is_direct(info) != 0
            driver.read(request, InodeNumber(inode), OpenFile.at(info.pointee.fh), range, isDirect)
        }
        table.write = { request, inode, bytes, size, offset, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            let bytes = UnsafeRawBufferPointer(start: bytes, count: size)
            driver.write(request, InodeNumber(inode), bytes, UInt64(offset), info)
        }
        table.flush = { request, inode, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.flush(request, InodeNumber(inode), OpenFile.at(info.pointee.fh))
        }
        table.fsync = { request, _, _, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            driver.fsync(request, OpenFile.at(info.pointee.fh))
        }
        table.release = { request, _, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            if let file = OpenFile.taking(info.pointee.fh) { driver.fileSystem.release(file.handle) }
            fuse_reply_err(request, 0)
        }
        table.fallocate = { request, inode, mode, offset, length, info in
            guard let request, let info, let driver = FuseOperations.driver(of: request) else { return }
            let file = OpenFile.at(info.pointee.fh)
            driver.fallocate(request, InodeNumber(inode), file, mode, UInt64(offset), UInt64(length))
        }
    }

    private func open(_ request: fuse_req_t, _ inode: InodeNumber, _ info: fuse_file_info) {
        let mode = OpenMode(flags: info.flags)
        let opener = mode.writes ? OpenFile.process(of: Self.thread(request)) : 0
        @Sendable func reply(_ request: fuse_req_t, _ opened: (FileHandle, keepsPages: Bool)) -> Int32 {
            var info = info
            info.fh = OpenFile(opened.0, self.activity).retainedNumber
            cfuse_set_keep_cache(&info, opened.keepsPages ? 1 : 0)
            let code = fuse_reply_open(request, &info)
            if code != 0 { _ = OpenFile.taking(info.fh) }
            return code
        }
        self.now(request, "open") { () throws(FileSystemError) in
            if !self.notifier.isForgetting(inode),
                let opened = try self.fileSystem.openNow(inode, mode, by: opener)
            {
                if reply(request, opened) != 0 { self.fileSystem.takeBack(opened.0) }
                return
            }
            self.later(
                request,
                "open",
                changes: mode.truncates,
                { () throws(FileSystemError) in
                    // Who opens it after a read failed sees it as it is.
                    if !mode.truncates { await self.notifier.waitUntilForgotten(inode) }
                    return try await self.fileSystem.open(inode, mode, by: opener)
                },
                reply: reply,
                undo: { opened in
                    self.fileSystem.takeBack(opened.0)
                    // The kernel did not hear that it was emptied.
                    if mode.truncates { self.notifier.invalidate(inode) }
                }
            )
        }
    }

    private func create(
        _ request: fuse_req_t,
        _ parent: InodeNumber,
        _ name: [UInt8],
        _ mode: mode_t,
        _ info: fuse_file_info
    ) {
        let openMode = OpenMode(flags: info.flags)
        let attributes = Self.attributes(mode)
        let opener = OpenFile.process(of: Self.thread(request))
        self.later(
            request,
            "create",
            changes: true,
            { () throws(FileSystemError) in
                try await self.fileSystem.create(
                    parent,
                    name,
                    mode: openMode,
                    attributes: attributes,
                    by: opener
                )
            },
            reply: { request, made in
                var info = info
                var entry = Replies.entry(made.0)
                info.fh = OpenFile(made.1, self.activity).retainedNumber
                let code = fuse_reply_create(request, &entry, &info)
                if code != 0 { _ = OpenFile.taking(info.fh) }
                return code
            },
            undo: { made in
                self.fileSystem.takeBack(made.1)
                self.forget(made.0)
                self.forgetNames([(parent, name)])
            }
        )
    }

    /// mknod(2) of a regular file: made, and on the service, when this is answered.
    private func mknod(_ request: fuse_req_t, _ parent: InodeNumber, _ name: [UInt8], _ mode: mode_t) {
        // mknod(2): EPERM where the filesystem has no such type.
        guard mode & S_IFMT == S_IFREG || mode & S_IFMT == 0 else {
            fuse_reply_err(request, EPERM)
            return
        }
        let openMode = OpenMode(reads: false, writes: true, isExclusive: true)
        let attributes = Self.attributes(mode)
        self.later(
            request,
            "mknod",
            changes: true,
            { () throws(FileSystemError) in
                let (reply, handle) = try await self.fileSystem.create(
                    parent,
                    name,
                    mode: openMode,
                    attributes: attributes,
                    by: 0
                )
                defer { self.fileSystem.release(handle) }
                do throws(FileSystemError) {
                    try await self.fileSystem.fsync(handle)
                } catch {
                    self.forget(reply)
                    throw error
                }
                return reply
            },
            reply: Self.replyEntry,
            undo: { reply in
                self.forget(reply)
                self.forgetNames([(parent, name)])
            }
        )
    }

    private func read(
        _ request: fuse_req_t,
        _ inode: InodeNumber,
        _ file: OpenFile?,
        _ range: Range<UInt64>,
        _ isDirect: Bool
    ) {
        guard let file else {
            self.fail(request, "read", .badHandle)
            return
        }
        let pending = PendingRequest(request, self.interrupts)
        @Sendable func fail(_ error: FileSystemError) {
            self.note("read", error)
            // What the kernel knows of it is old. Before the answer: an open that comes after that waits for it.
            if error == .changedOnServer || error == .stale {
                self.notifier.invalidate(inode) { self.fileSystem.kernelMustForget(inode) }
            }
            pending.fail(error.errno)
        }
        @Sendable func succeed(_ slices: [ByteSlice]) {
            func answer() {
                self.activity.didRead(slices)
                _ = pending.answer { Replies.data($0, slices) }
            }
            let count = slices.reduce(0) { $0 + $1.range.count }
            guard count < range.count,
                self.fileSystem.kernelMayExpectMore(than: range.lowerBound + UInt64(count), of: inode)
            else { return answer() }
            if !self.notifier.telling(endOf: inode, answer) { fail(.changedOnServer) }
        }
        do throws(FileSystemError) {
            let outcome = try self.fileSystem.read(file.handle, range, isDirect: isDirect) { result in
                switch result {
                case .success(let slices): succeed(slices)
                case .failure(let error): fail(error)
                }
            }
            switch outcome {
            case .ready(let slices): succeed(slices)
            case .pending(let cancel): pending.allowInterruption(cancel)
            }
        } catch {
            fail(error)
        }
    }

    private func write(
        _ request: fuse_req_t,
        _ inode: InodeNumber,
        _ bytes: UnsafeRawBufferPointer,
        _ offset: UInt64,
        _ info: UnsafeMutablePointer<fuse_file_info>
    ) {
        self.now(request, "write") { () throws(FileSystemError) in
            guard let file = OpenFile.at(info.pointee.fh) else { throw .badHandle }
            // Until then reads that came later wait.
            let announced = file.announcedWrite(offset, count: bytes.count)
            // From the page cache, on behalf of some mapping: nobody in particular.
            let isPage = cfuse_is_writepage(info) != 0
            let process = isPage ? 0 : file.process(ofWriter: Self.thread(request))
            let count = bytes.count
            if try self.fileSystem.writeNow(file.handle, bytes, at: offset, by: process) {
                self.activity.didWrite(count)
                announced.end()
                fuse_reply_write(request, count)
                return
            }
            // libfuse's buffer lives only as long as this call.
            let held = try self.fileSystem.hold(bytes)
            self.fileSystem.beginWork(on: file.handle)
            self.later(
                request,
                "write",
                changes: true,
                { () throws(FileSystemError) in
                    defer {
                        announced.end()
                        self.fileSystem.endWork(on: file.handle)
                    }
                    try await self.fileSystem.write(file.handle, held, at: offset, by: process)
                    self.activity.didWrite(count)
                },
                reply: { request, _ in fuse_reply_write(request, count) },
                // The kernel takes the file to end where it did, and would append there.
                undo: { _ in self.notifier.invalidate(inode) }
            )
        }
    }

    private func flush(_ request: fuse_req_t, _ inode: InodeNumber, _ file: OpenFile?) {
        self.now(request, "flush") { () throws(FileSystemError) in
            guard let file else { throw .badHandle }
            guard self.fileSystem.needsFlush(file.handle) else {
                fuse_reply_err(request, 0)
                return
            }
            let process = OpenFile.process(of: Self.thread(request))
            // A shell opens a redirection's file, duplicates the descriptor and closes the first one before anything is
            // written: that close must not put an empty file on the service.
            if self.fileSystem.isUnwritten(file.handle), let device = self.device.withLock({ $0 }),
                OpenDescriptors.has(process, inode, on: device)
            {
                fuse_reply_err(request, 0)
                return
            }
            self.later(request, "flush", changes: true) { () throws(FileSystemError) in
                try await self.fileSystem.flush(file.handle, by: process)
            }
        }
    }

    private func fsync(_ request: fuse_req_t, _ file: OpenFile?) {
        self.now(request, "fsync") { () throws(FileSystemError) in
            guard let file else { throw .badHandle }
            self.later(request, "fsync", changes: true) { () throws(FileSystemError) in
                try await self.fileSystem.fsync(file.handle)
            }
        }
    }

    private func fallocate(
        _ request: fuse_req_t,
        _ inode: InodeNumber,
        _ file: OpenFile?,
        _ mode: Int32,
        _ offset: UInt64,
        _ length: UInt64
    ) {
        self.now(request, "fallocate") { () throws(FileSystemError) in
            guard let file else { throw .badHandle }
            // linux/falloc.h: FALLOC_FL_KEEP_SIZE is 1. Holes cannot be punched in a file that exists nowhere but whole.
            let keepsSize = mode == 1
            guard mode == 0 || keepsSize else { throw .notSupported }
            let (end, overflow) = offset.addingReportingOverflow(length)
            guard !overflow else { throw .fileTooLarge }
            let process = file.process(ofWriter: Self.thread(request))
            let size = keepsSize ? IntendedSize.of(roomUpTo: end, by: Self.thread(request)) : end
            self.fileSystem.beginWork(on: file.handle)
            self.later(
                request,
                "fallocate",
                changes: true,
                blocks: true,
                { () throws(FileSystemError) in
                    defer { self.fileSystem.endWork(on: file.handle) }
                    if keepsSize {
                        try await self.fileSystem.reserve(file.handle, offset..<end, expecting: size)
                    } else {
                        try await self.fileSystem.allocate(file.handle, offset..<end, by: process)
                    }
                },
                reply: { request, _ in fuse_reply_err(request, 0) },
                undo: { _ in self.notifier.invalidate(inode) }
            )
        }
    }

    static func thread(_ request: fuse_req_t) -> Int32 {
        fuse_req_ctx(request)?.pointee.pid ?? 0
    }

    private static func attributes(_ mode: mode_t) -> AttributeChange {
        var attributes = AttributeChange()
        attributes.mode = mode & 0o7777
        return attributes
    }
}

extension OpenMode {
    /// From the flags of open(2).
    fileprivate init(flags: Int32) {
        let access = flags & O_ACCMODE
        self.init(
            reads: access != O_WRONLY,
            writes: access != O_RDONLY,
            truncates: flags & O_TRUNC != 0,
            isExclusive: flags & O_EXCL != 0
        )
    }
}
