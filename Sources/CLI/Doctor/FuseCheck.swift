import Glibc

/// What this machine needs to mount: the kernel's side, the program for users, and its configuration.
struct FuseCheck {
    /// Who would mount.
    let environment: Environment
    /// Whether other users are to be let in.
    let allowsOthers: Bool

    /// All that was found.
    var findings: [Finding] { [self.device, self.program, self.configuration] }

    private var device: Finding {
        do throws(UserError) {
            try FuseDevice.checkDevice(isRoot: self.environment.isRoot)
            return .ok("/dev/fuse", "is there and can be opened")
        } catch {
            return .error("/dev/fuse", error.description)
        }
    }

    private var program: Finding {
        let isRoot = self.environment.isRoot
        guard let path = Unmounting.fusermount else {
            let text = isRoot ? "is missing: only root can mount" : "is missing"
            let advice = "install it with: apt-get install fuse3"
            return isRoot ? .warning("fusermount3", text, advice) : .error("fusermount3", text, advice)
        }
        guard let status = try? FileStatus(following: path) else {
            return .error("fusermount3", "\(path) cannot be looked at")
        }
        guard status.userID == 0, status.permissions & 0o4000 != 0 else {
            let text = "\(path) is not setuid root: only root can mount"
            let advice = "as root: chmod u+s \(path)"
            return isRoot ? .warning("fusermount3", text, advice) : .error("fusermount3", text, advice)
        }
        return .ok("fusermount3", "\(path), for users too")
    }

    private var configuration: Finding {
        if FuseDevice.allowsOthers() {
            return .ok("/etc/fuse.conf", "has user_allow_other: users may give --allow-other")
        }
        let text = "has no line user_allow_other: only root may give --allow-other"
        guard self.allowsOthers, !self.environment.isRoot else { return .ok("/etc/fuse.conf", text) }
        return .error("/etc/fuse.conf", text, "as root: echo user_allow_other >> /etc/fuse.conf")
    }
}
