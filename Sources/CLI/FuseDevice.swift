import Glibc

/// What this machine needs for any FUSE mount, looked at before one is tried.
enum FuseDevice {
    /// Makes sure that a mount can be made.
    ///
    /// - Parameters:
    ///   - allowsOthers: Whether it is to be one for all users.
    ///   - environment: Who mounts.
    /// - Throws: Says what to do.
    static func check(allowsOthers: Bool, environment: Environment) throws(UserError) {
        try self.checkDevice(isRoot: environment.isRoot)
        guard !environment.isRoot else { return }
        guard Unmounting.fusermount != nil else {
            throw UserError(
                "fusermount3 is missing: install it with: apt-get install fuse3",
                status: .mountFailure
            )
        }
        if allowsOthers, !self.allowsOthers() {
            throw UserError(
                "--allow-other needs the line user_allow_other in /etc/fuse.conf, which only root can add",
                status: .mountFailure
            )
        }
    }

    /// Makes sure that the kernel's side is there.
    ///
    /// - Throws: Says what to do.
    static func checkDevice(isRoot: Bool) throws(UserError) {
        let descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return
        }
        let error = SystemError()
        switch error.code {
        case ENOENT:
            throw UserError(
                "there is no /dev/fuse: load the module with: modprobe fuse (a container needs --device /dev/fuse)",
                status: .mountFailure
            )
        case ENODEV, ENXIO:
            throw UserError("the kernel has no FUSE: load it with: modprobe fuse", status: .mountFailure)
        case EACCES where !isRoot:
            throw UserError(
                "only root may open /dev/fuse here: as root, chmod 666 /dev/fuse (udev does it on a full system)",
                status: .mountFailure
            )
        default:
            throw UserError(
                "/dev/fuse cannot be opened: \(error) (a container needs --device /dev/fuse and CAP_SYS_ADMIN)",
                status: .mountFailure
            )
        }
    }

    /// Whether users may give `--allow-other`, by fusermount3's configuration.
    static func allowsOthers(configuration path: String = "/etc/fuse.conf") -> Bool {
        guard let bytes = try? Descriptor.readFile(path, limit: 1 << 20) else { return false }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains { line in
            line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace) == ["user_allow_other"]
        }
    }
}
