import CLinux
import Glibc

/// Where unsent bytes and fetched ones are to be kept: whether that can be, and whether they are safe there.
struct CacheDirectoryCheck: Sendable {
    /// The directory's absolute path; it need not be there.
    let path: String
    /// Whose it is to be.
    let userID: UInt32

    private static let check = "cache directory"
    /// What is written and not uploaded must find room.
    private static let leastFreeByteCount: UInt64 = 1 << 30

    /// All that was found.
    var findings: [Finding] {
        let shown = Printable.text(self.path)
        do throws(SystemError) {
            let status = try FileStatus(following: self.path)
            guard status.isDirectory else {
                return [.error(Self.check, "\(shown) is no directory", Self.choice)]
            }
            return [self.access(status), self.disk(of: self.path), self.writing]
        } catch {
            guard error.code == ENOENT else {
                return [.error(Self.check, "\(shown) cannot be used: \(error)", Self.choice)]
            }
            return self.absent(shown)
        }
    }

    private static let choice = "choose another with --cache-dir"

    private func absent(_ shown: String) -> [Finding] {
        var parent = self.path
        while parent.count > 1, Glibc.access(parent, F_OK) != 0 {
            parent = String(parent[..<(parent.lastIndex(of: "/") ?? parent.startIndex)])
            if parent.isEmpty { parent = "/" }
        }
        guard Glibc.access(parent, W_OK | X_OK) == 0 else {
            let place = Printable.text(parent)
            return [.error(Self.check, "\(shown) cannot be made: \(place): \(SystemError())", Self.choice)]
        }
        return [.ok(Self.check, "\(shown) is not there yet and can be made"), self.disk(of: parent)]
    }

    private func access(_ status: FileStatus) -> Finding {
        let shown = Printable.text(self.path)
        guard Glibc.access(self.path, R_OK | W_OK | X_OK) == 0 else {
            return .error(Self.check, "\(shown) cannot be written to: \(SystemError())", Self.choice)
        }
        if status.userID != self.userID {
            let advice = "whoever owns it can read and change what is kept there"
            return .warning(Self.check, "\(shown) belongs to user \(status.userID)", advice)
        }
        guard status.permissions & 0o077 == 0 else {
            let advice = "chmod 700 \(Printable.word(self.path))"
            return .warning(Self.check, "\(shown) is open to other users", advice)
        }
        return .ok(Self.check, "\(shown), yours alone")
    }

    private func disk(of path: String) -> Finding {
        let check = "cache disk"
        var numbers = statvfs()
        var number: UInt64 = 0
        guard statvfs(path, &numbers) == 0, csystem_filesystem_type(path, &number) == 0 else {
            return .error(check, "\(Printable.text(path)): \(SystemError())", Self.choice)
        }
        let free = UInt64(numbers.f_bavail) * UInt64(numbers.f_frsize)
        let type = FilesystemType(UInt32(truncatingIfNeeded: number))
        let text = "\(type.name), \(ByteCountText.short(free))B free"
        if let trouble = type.trouble { return .warning(check, "\(text): \(trouble)", Self.choice) }
        guard free >= Self.leastFreeByteCount else {
            return .warning(check, text, "writes fail where it is full: make room")
        }
        return .ok(check, text)
    }

    /// A file is made, synced, opened past the kernel's cache, and removed.
    private var writing: Finding {
        let check = "cache writes"
        let name = "\(self.path)/.tetherfs-doctor-\(getpid())"
        let descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            return .error(check, "no file can be made: \(SystemError())", Self.choice)
        }
        defer {
            close(descriptor)
            unlink(name)
        }
        let bytes = [UInt8](repeating: 0, count: 4096)
        guard write(descriptor, bytes, bytes.count) == bytes.count else {
            return .error(check, "nothing can be written: \(SystemError())", Self.choice)
        }
        guard fsync(descriptor) == 0 else {
            let text = "fsync fails (\(SystemError())): a power failure loses what is not uploaded"
            return .error(check, text, Self.choice)
        }
        let direct = open(name, O_RDONLY | O_CLOEXEC | csystem_open_direct())
        guard direct >= 0 else {
            let text = "fsync works; O_DIRECT does not: cached blocks go through the kernel's cache"
            return .ok(check, text)
        }
        close(direct)
        return .ok(check, "fsync and O_DIRECT work")
    }
}

/// A local filesystem's type, as statfs(2) has it.
struct FilesystemType {
    /// Its name, or its number.
    let name: String
    /// Why a cache had better not be there.
    let trouble: String?

    /// Takes the number (linux/magic.h).
    init(_ number: UInt32) {
        let network = "on a network: slow, and other machines may use it at the same time"
        let memory = "in memory: what is not uploaded is lost when the machine stops"
        switch number {
        case 0xef53: (self.name, self.trouble) = ("ext4", nil)
        case 0x5846_5342: (self.name, self.trouble) = ("xfs", nil)
        case 0x9123_683e: (self.name, self.trouble) = ("btrfs", nil)
        case 0x2fc1_2fc1: (self.name, self.trouble) = ("zfs", nil)
        case 0xf2f5_2010: (self.name, self.trouble) = ("f2fs", nil)
        case 0x794c_7630: (self.name, self.trouble) = ("overlay", nil)
        case 0x0102_1994: (self.name, self.trouble) = ("tmpfs", memory)
        case 0x8584_58f6: (self.name, self.trouble) = ("ramfs", memory)
        case 0x6969: (self.name, self.trouble) = ("nfs", network)
        case 0xff53_4d42: (self.name, self.trouble) = ("cifs", network)
        case 0xfe53_4d42: (self.name, self.trouble) = ("smb2", network)
        case 0x6573_5546: (self.name, self.trouble) = ("fuse", "a FUSE mount: it may be gone before this one")
        case 0x4d44: (self.name, self.trouble) = ("vfat", "it keeps no permissions, and no file above 4 GiB")
        default: (self.name, self.trouble) = ("type 0x\(String(number, radix: 16))", nil)
        }
    }
}
