import CFuse
import Glibc
import Inodes
import Primitives
import VFS

// Requests about names and attributes.

extension FuseOperations {
    static func setNames(_ table: inout fuse_lowlevel_ops) {
        table.lookup = { request, parent, name in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.lookup(request, InodeNumber(parent), FuseOperations.name(name))
        }
        table.forget = { request, inode, count in
            guard let request else { return }
            FuseOperations.driver(of: request)?.fileSystem.forget(InodeNumber(inode), count: count)
            fuse_reply_none(request)
        }
        table.forget_multi = { request, count, forgets in
            guard let request else { return }
            for one in UnsafeBufferPointer(start: forgets, count: count) {
                FuseOperations.driver(of: request)?.fileSystem.forget(
                    InodeNumber(one.ino),
                    count: one.nlookup
                )
            }
            fuse_reply_none(request)
        }
        table.getattr = { request, inode, info in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.getattr(request, InodeNumber(inode), isOpen: info != nil)
        }
        table.setattr = { request, inode, attributes, fields, info in
            guard let request, let attributes, let driver = FuseOperations.driver(of: request) else { return }
            driver.setattr(
                request,
                InodeNumber(inode),
                attributes.pointee,
                Int(fields),
                info.flatMap { OpenFile.at($0.pointee.fh) }
            )
        }
        table.unlink = { request, parent, name in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            driver.unlink(request, InodeNumber(parent), FuseOperations.name(name))
        }
        table.rename = { request, parent, name, newParent, newName, flags in
            guard let request, let driver = FuseOperations.driver(of: request) else { return }
            let (old, new) = (FuseOperations.name(name), FuseOperations.name(newName))
            driver.rename(request, (InodeNumber(parent), old), (InodeNumber(newParent), new), flags)
        }
        // What the API has not is EPERM, not ENOSYS: cp, tar, rsync and git know what to make of that.
        table.symlink = { request, _, _, _ in fuse_reply_err(request, EPERM) }
        table.link = { request, _, _, _ in fuse_reply_err(request, EPERM) }
        table.statfs = { request, _ in FuseOperations.replyStatistics(request) }
    }

    private func lookup(_ request: fuse_req_t, _ parent: InodeNumber, _ name: [UInt8]) {
        self.now(request, "lookup") { () throws(FileSystemError) in
            if case .now(let reply) = try self.fileSystem.lookupNow(parent, name) {
                if Self.replyEntry(request, reply) != 0 { self.forget(reply) }
                return
            }
            self.later(
                request,
                "lookup",
                { () throws(FileSystemError) in try await self.fileSystem.lookup(parent, name) },
                reply: Self.replyEntry,
                undo: self.forget
            )
        }
    }

    private func getattr(_ request: fuse_req_t, _ inode: InodeNumber, isOpen: Bool = false) {
        self.fileSystem.noteStat(of: inode)
        if let (attributes, validFor) = self.fileSystem.getattrNow(inode, isOpen: isOpen) {
            _ = Self.replyAttributes(request, attributes, validFor)
            return
        }
        let thread = fuse_req_ctx(request)?.pointee.pid ?? 0
        self.later(
            request,
            "getattr",
            { () throws(FileSystemError) in
                try await self.fileSystem.getattr(inode) { SystemCall(thread: thread)?.opensForReading }
            },
            reply: { Self.replyAttributes($0, $1.0, $1.validFor) }
        )
    }

    private static func replyAttributes(
        _ request: fuse_req_t,
        _ attributes: FileAttributes,
        _ validFor: Duration
    ) -> Int32 {
        var stat = Replies.stat(attributes)
        return fuse_reply_attr(request, &stat, Replies.seconds(validFor))
    }

    private func setattr(
        _ request: fuse_req_t,
        _ inode: InodeNumber,
        _ stat: stat,
        _ fields: Int,
        _ file: OpenFile?
    ) {
        self.now(request, "setattr") { () throws(FileSystemError) in
            let change = Self.change(stat, fields)
            guard fields & cfuse_set_size != 0 else {
                try self.fileSystem.setattr(inode, change)
                return self.getattr(request, inode)
            }
            let size = UInt64(stat.st_size)
            let handle = file?.handle
            let process = file?.process(ofWriter: Self.thread(request))
            self.later(
                request,
                "setattr",
                changes: true,
                { () throws(FileSystemError) in
                    do throws(FileSystemError) {
                        try await self.fileSystem.truncate(inode, to: size, through: handle, by: process)
                        try self.fileSystem.setattr(inode, change)
                        return try await self.fileSystem.getattr(inode)
                    } catch {
                        // It may have been cut before that failed. Who appends does so at the end that the kernel knows.
                        self.notifier.invalidate(inode)
                        throw error
                    }
                },
                reply: { Self.replyAttributes($0, $1.0, $1.validFor) },
                undo: { _ in self.notifier.invalidate(inode) }
            )
        }
    }

    /// What is to be set, of what memory can keep.
    private static func change(_ stat: stat, _ fields: Int) -> AttributeChange {
        func isSet(_ field: Int) -> Bool { fields & field != 0 }
        var change = AttributeChange()
        if isSet(cfuse_set_mode) { change.mode = stat.st_mode & 0o7777 }
        if isSet(cfuse_set_uid) { change.userID = stat.st_uid }
        if isSet(cfuse_set_gid) { change.groupID = stat.st_gid }
        if isSet(cfuse_set_atime_now) {
            change.accessTime = .now()
        } else if isSet(cfuse_set_atime) {
            change.accessTime = Self.time(stat.st_atim)
        }
        if isSet(cfuse_set_mtime_now) {
            change.modificationTime = .now()
        } else if isSet(cfuse_set_mtime) {
            change.modificationTime = Self.time(stat.st_mtim)
        }
        return change
    }

    private static func time(_ time: timespec) -> FileTime {
        FileTime(seconds: Int64(time.tv_sec), nanoseconds: Int64(time.tv_nsec))
    }

    private func unlink(_ request: fuse_req_t, _ parent: InodeNumber, _ name: [UInt8]) {
        self.changeNames(request, "unlink", [(parent, name)]) { () throws(FileSystemError) in
            try await self.fileSystem.unlink(parent, name)
        }
    }

    private func rename(
        _ request: fuse_req_t,
        _ old: (parent: InodeNumber, name: [UInt8]),
        _ new: (parent: InodeNumber, name: [UInt8]),
        _ flags: UInt32
    ) {
        // linux/fs.h: RENAME_NOREPLACE is 1. Two names cannot be exchanged in one step here (rename(2): EINVAL).
        guard flags & ~1 == 0 else {
            fuse_reply_err(request, EINVAL)
            return
        }
        self.changeNames(request, "rename", [old, new]) { () throws(FileSystemError) in
            do throws(FileSystemError) {
                try await self.fileSystem.rename(
                    old.parent,
                    old.name,
                    to: new.parent,
                    new.name,
                    replaces: flags & 1 == 0
                )
            } catch {
                // The kernel takes the names for what they were before. Where only the old one could not be deleted, it is
                // another file than the one that was renamed: what is written to it must not go to that.
                self.forgetNames([old, new])
                throw error
            }
        }
    }

    /// Answers a request that changes names; where its caller no longer waits, the kernel must not believe what it
    /// knew of them.
    func changeNames(
        _ request: fuse_req_t,
        _ operation: StaticString,
        _ names: [(parent: InodeNumber, name: [UInt8])],
        _ work: @escaping @Sendable () async throws(FileSystemError) -> Void
    ) {
        self.later(
            request,
            operation,
            changes: true,
            work,
            reply: { request, _ in fuse_reply_err(request, 0) },
            undo: { self.forgetNames(names) }
        )
    }

    func forgetNames(_ names: [(parent: InodeNumber, name: [UInt8])]) {
        for (parent, name) in names { self.notifier.invalidate(name, in: parent) }
    }

    /// The API knows of no space: large round numbers, so that programs dare to write.
    private static func replyStatistics(_ request: fuse_req_t?) {
        var statistics = statvfs()
        statistics.f_bsize = 4096
        statistics.f_frsize = 4096
        // 1 PiB.
        statistics.f_blocks = 1 << 38
        statistics.f_bfree = 1 << 38
        statistics.f_bavail = 1 << 38
        statistics.f_files = 1 << 32
        statistics.f_ffree = 1 << 32
        statistics.f_favail = 1 << 32
        statistics.f_namemax = 255
        fuse_reply_statfs(request, &statistics)
    }
}
