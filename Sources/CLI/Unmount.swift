import Glibc

/// Takes a mount away without losing what is not uploaded yet.
struct Unmount {
    /// How long the driver may take to end after its mount is gone: all was uploaded before.
    static let endLimit = Duration.seconds(60)

    private let driver: MountedDriver

    /// Takes what the person typed.
    ///
    /// - Throws: If there is no such place.
    init(_ text: String, environment: Environment) throws(UserError) {
        self.driver = try MountedDriver(text, environment: environment)
    }

    private var mountPoint: String { self.driver.mountPoint }
    private var shown: String { self.driver.shown }

    /// Does it.
    ///
    /// - Throws: Says why the mount is still there.
    func run() throws(UserError) {
        let owner = try self.driver.owner(for: "unmount it")
        let socket = try self.driver.socket(of: owner)
        var wasThere = false
        do {
            var client = try ControlClient(path: socket, userID: owner)
            wasThere = true
            let processID = try self.drain(&client)
            try self.unmount()
            if !client.waitForEnd(of: processID, limit: Self.endLimit) {
                Terminal.note(
                    "unmounted \(self.shown); the driver (process \(processID ?? 0)) has not ended yet"
                )
            }
        } catch let failure as ControlClient.Failure {
            try self.unmountUnanswered(failure, socket: socket, wasThere: wasThere)
        } catch let error as UserError {
            throw error
        } catch {
            throw UserError(Printable.text("\(error)"))
        }
    }

    /// Takes the mount out of sight at once: who has files open keeps them, and the driver uploads what waits, then ends.
    ///
    /// - Throws: Says why the mount is still there.
    func runLazily() throws(UserError) {
        _ = try self.driver.mount()
        guard case .refused(let reason) = Unmounting.unmount(self.mountPoint, .lazily) else { return }
        throw UserError("cannot unmount \(self.shown): \(reason)")
    }

    /// Takes the mount away if its driver is dead; else, or if there is none, does nothing.
    ///
    /// - Throws: Says why the dead mount is still there.
    func runIfDead() throws(UserError) {
        let mountPoint = try MountPoint(self.mountPoint)
        guard let mount = try MountTable.current().mount(at: self.mountPoint), mount.isTetherfs,
            mountPoint.state(within: .seconds(5)) == .dead
        else { return }
        try mountPoint.clearDeadMount()
    }

    /// Waits until the driver has uploaded everything.
    ///
    /// - Returns: The driver's process id.
    private func drain(_ client: inout ControlClient) throws -> Int32? {
        let reply = try client.send(.drain) { Terminal.showProgress($0) }
        Terminal.clearProgress()
        guard reply.ok else {
            let reason = Printable.text(reply.message ?? "the driver gave no reason")
            throw UserError("\(self.shown) stays mounted: \(reason)")
        }
        return reply.processID
    }

    private func unmount() throws(UserError) {
        // Who closed a file just now may hold the mount for a moment longer.
        for attempt in 1... {
            switch Unmounting.unmount(self.mountPoint, .ifUnused) {
            case .done: return
            case .busy:
                let users = Processes.users(of: self.mountPoint)
                if users.isEmpty, attempt < 20 {
                    usleep(50_000)
                    continue
                }
                let who =
                    users.isEmpty
                    ? "by a process that you may not see" : "by " + users.joined(separator: ", ")
                throw UserError(
                    "\(self.shown) is busy: files are open or it is the current directory, \(who)"
                )
            case .refused(let reason):
                // A signal to the driver, or somebody else's unmount, may have been faster; all is uploaded.
                if try MountTable.current().mount(at: self.mountPoint) == nil { return }
                throw UserError("cannot unmount \(self.shown): \(reason)")
            }
        }
    }

    /// Nobody to talk to: a driver that died is cleared away, one that lives is left alone.
    ///
    /// - Throws: Also if it died while it was waited for: nobody knows then whether all is uploaded.
    private func unmountUnanswered(
        _ failure: ControlClient.Failure,
        socket: String,
        wasThere: Bool
    ) throws(UserError) {
        Terminal.clearProgress()
        let mountPoint = try MountPoint(self.mountPoint)
        // A driver that ended just now leaves the mount dead a moment later.
        let isDead = mountPoint.state(within: .seconds(5)) == .dead
        // Its watcher takes that away, perhaps while it is looked at.
        let isGone = try MountTable.current().mount(at: self.mountPoint) == nil
        if isGone || isDead {
            if !isGone { try mountPoint.clearDeadMount() }
            if wasThere {
                throw UserError(
                    "\(self.shown) is unmounted, but its driver ended before it said that all is uploaded: what is "
                        + "not is left to the next mount"
                )
            }
            if !isGone {
                Terminal.note(
                    "cleared \(self.shown): its driver had died before; what it had not uploaded is left to the next "
                        + "mount"
                )
            }
            return
        }
        let reason = MountedDriver.reason(failure, socket: socket)
        throw UserError(
            "\(self.shown) stays mounted: cannot ask its driver whether all is uploaded: \(reason)"
        )
    }
}
