import Glibc

/// Taking a mount away: by the kernel as root, by fusermount3 as anyone else.
enum Unmounting {
    /// What became of it.
    enum Outcome: Equatable {
        /// It is gone.
        case done
        /// Somebody uses it.
        case busy
        /// It was refused; the text says why, in one line.
        case refused(String)
    }

    /// How.
    enum Manner {
        /// Only if nobody uses it.
        case ifUnused
        /// At once; who uses it keeps what it has. For a mount whose driver is dead.
        case lazily
        /// As `lazily`, but nothing else that stands there by now: the next mount, say. As anyone but root only if
        /// that is made under ``MountLock``, which the caller has.
        case ifDead
    }

    /// Where Debian and others have it: mount(8) leaves no PATH to look in.
    static var fusermount: String? {
        ["/bin/fusermount3", "/usr/bin/fusermount3"].first { access($0, X_OK) == 0 }
    }

    /// Takes the mount at a path away.
    static func unmount(_ path: String, _ manner: Manner) -> Outcome {
        geteuid() == 0 ? self.unmountAsRoot(path, manner) : self.unmountAsUser(path, manner)
    }

    private static func unmountAsRoot(_ path: String, _ manner: Manner) -> Outcome {
        if manner == .ifDead { return self.unmountDead(path) }
        // linux/fs.h: MNT_DETACH is 2, UMOUNT_NOFOLLOW is 8.
        let flags: Int32 = manner == .lazily ? 2 | 8 : 8
        guard umount2(path, flags) != 0 else { return .done }
        let error = SystemError()
        return error.code == EBUSY ? .busy : .refused(error.description)
    }

    /// By a descriptor, which goes on to stand for the same mount when the path stands for the next one.
    private static func unmountDead(_ path: String) -> Outcome {
        // asm-generic/fcntl.h: O_PATH.
        let root = open(path, 0o10000000 | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard root >= 0 else { return .refused(SystemError().description) }
        defer { close(root) }
        var statistics = statvfs()
        if fstatvfs(root, &statistics) == 0 { return .refused("its driver is alive") }
        // linux/fs.h: MNT_DETACH is 2.
        return umount2("/proc/self/fd/\(root)", 2) == 0 ? .done : .refused(SystemError().description)
    }

    private static func unmountAsUser(_ path: String, _ manner: Manner) -> Outcome {
        guard let fusermount = self.fusermount else {
            return .refused("fusermount3 is missing (package fuse3)")
        }
        do {
            let arguments = (manner == .ifUnused ? ["-u"] : ["-u", "-z"]) + ["--", path]
            let (status, errors) = try ChildProcess.run(fusermount, arguments)
            if status == 0 { return .done }
            // fusermount3 tells a busy mount from others only by strerror(EBUSY) in its line.
            if errors.contains(SystemError(EBUSY).description) { return .busy }
            let line =
                errors.split(separator: "\n").first.map(String.init) ?? "fusermount3 ended with \(status)"
            return .refused(Printable.text(line))
        } catch {
            return .refused("cannot start \(fusermount): \(error)")
        }
    }
}
