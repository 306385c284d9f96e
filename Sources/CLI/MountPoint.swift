import Dispatch
import Glibc

/// The directory that a filesystem is mounted on.
struct MountPoint: Sendable {
    /// Its absolute path, links followed.
    let path: String

    /// What answers there.
    enum State: Sendable, Equatable {
        /// A directory.
        case directory
        /// Something else.
        case notDirectory
        /// A mount whose driver is gone.
        case dead
        /// Nothing within some seconds.
        case silent
        /// An error.
        case refused(SystemError)
    }

    /// Finds the directory that somebody named, without touching what may be mounted there.
    ///
    /// - Throws: Says what is missing and how to make it.
    init(_ text: String) throws(UserError) {
        guard !text.isEmpty else { throw UserError("MOUNTPOINT is empty", status: .mountFailure) }
        // mount.fuse3 has mounted it then, where this process does not know.
        guard !text.hasPrefix("/dev/fd/") else {
            throw UserError("-o drop_privileges is not possible: leave it out", status: .mountFailure)
        }
        do {
            let path = try FilePath.realInParent(text)
            let table = try? MountTable.current()
            // A link to a directory is followed, a mount is left alone.
            self.path = table?.mount(at: path) == nil ? try FilePath.real(path) : path
        } catch {
            throw Self.refusal(text, error)
        }
    }

    /// Makes sure that a mount can be made here; the remains of a driver that died are cleared away.
    ///
    /// - Parameter notice: Gets a line about what was done.
    /// - Throws: Says what is in the way.
    func prepare(notice: (String) -> Void) throws(UserError) {
        let shown = Printable.text(self.path)
        if let mount = try MountTable.current().mount(at: self.path) {
            // An automount: the mount that it asked for goes on top. Whoever looks into it waits for just that mount.
            if mount.type == "autofs" { return }
            if mount.isTetherfs, self.state(within: .seconds(5)) == .dead {
                try self.clearDeadMount()
                notice(
                    "cleared the dead mount of \(Printable.text(mount.source)) at \(shown): its driver had ended early"
                )
            } else if try MountTable.current().mount(at: self.path)?.id == mount.id {
                throw UserError(
                    "mount point \(shown) is busy: \(Printable.text(mount.source)) (\(mount.type)) is mounted there",
                    status: .mountFailure
                )
            } else {
                // Who watches over it, or somebody else, took it away before it could be asked.
                return try self.prepare(notice: notice)
            }
        }
        switch self.state(within: .seconds(5)) {
        case .directory: break
        case .notDirectory:
            throw UserError("mount point \(shown) is not a directory", status: .mountFailure)
        case .dead:
            throw Self.refusal(shown, SystemError(ENOTCONN))
        case .silent:
            throw UserError("mount point \(shown) does not answer: its own disk hangs", status: .mountFailure)
        case .refused(let error):
            throw Self.refusal(shown, error)
        }
        // fusermount3 asks for the same and says it less clearly.
        guard geteuid() == 0 || access(self.path, W_OK) == 0 else {
            throw UserError(
                "mount point \(shown) must be a directory that you may write to",
                status: .mountFailure
            )
        }
    }

    /// Takes a dead mount away, and the ones below it.
    func clearDeadMount() throws(UserError) {
        let owner = try MountTable.current().mount(at: self.path)?.userID
        try MountLock.holding { () throws(UserError) in
            // Somebody may have mounted here since it was found dead.
            let isDead = self.state(within: .seconds(2)) == .dead
            let outcome =
                isDead ? Unmounting.unmount(self.path, .ifDead) : .refused("its driver is alive")
            // Its watcher may have been faster.
            if case .refused(let reason) = outcome, try MountTable.current().mount(at: self.path) != nil {
                throw UserError(
                    "a dead mount is in the way at \(Printable.text(self.path)) and cannot be cleared: \(reason)",
                    status: .mountFailure
                )
            }
            // Its driver could not take the name of its control socket away.
            if let owner { ControlAddress.removeAbandonedSocket(for: self.path, userID: owner) }
        }
    }

    /// Asks what answers, on a thread of its own: a driver that hangs holds whoever asks.
    func state(within limit: DispatchTimeInterval) -> State {
        let answer = Answer<State>()
        let path = self.path
        DetachedThread.start { answer.set(Self.state(of: path)) }
        return answer.value(within: limit) ?? .silent
    }

    private static func state(of path: String) -> State {
        do throws(SystemError) {
            let status = try FileStatus(following: path)
            // The kernel answers stat from what it knows for a while after a driver's death, but never statfs.
            var statistics = statvfs()
            guard statvfs(path, &statistics) == 0 else { throw SystemError() }
            return status.isDirectory ? .directory : .notDirectory
        } catch {
            return error.isOfDeadMount ? .dead : .refused(error)
        }
    }

    private static func refusal(_ path: String, _ error: SystemError) -> UserError {
        let shown = Printable.text(path)
        let text =
            error.code == ENOENT
            ? "mount point \(shown) does not exist; make it with: mkdir -p \(Printable.word(path))"
            : "mount point \(shown) cannot be used: \(error)"
        return UserError(text, status: .mountFailure)
    }
}
