/// A mount as a command finds it: where it is, whose it is, and where its driver answers.
struct MountedDriver {
    /// The absolute path, links followed.
    let mountPoint: String
    private let environment: Environment

    /// Takes what the person typed.
    ///
    /// - Throws: If there is no such place.
    init(_ text: String, environment: Environment) throws(UserError) {
        guard !text.isEmpty else { throw UserError("MOUNTPOINT is empty") }
        do throws(UserError) {
            self.mountPoint = try MountPoint(text).path
        } catch {
            let isThere = FileStatus(of: text) != nil
            throw UserError(
                isThere
                    ? error.description
                    : "\(Printable.text(text)) does not exist, so nothing is mounted there"
            )
        }
        self.environment = environment
    }

    /// Takes a mount of the kernel's table.
    init(_ mount: MountTable.Entry, environment: Environment) {
        self.mountPoint = mount.mountPoint
        self.environment = environment
    }

    /// The path as a person is shown it.
    var shown: String { Printable.text(self.mountPoint) }

    /// The mount.
    ///
    /// - Returns: What the kernel says of it.
    /// - Throws: If there is none, or it is another program's.
    func mount() throws(UserError) -> MountTable.Entry {
        guard let mount = try MountTable.current().mount(at: self.mountPoint) else {
            throw UserError("\(self.shown) is not a tetherfs mount: nothing is mounted there")
        }
        guard mount.isTetherfs else {
            throw UserError(
                "\(self.shown) is not a tetherfs mount: its type is \(Printable.text(mount.type))"
            )
        }
        return mount
    }

    /// The user whose mount it is.
    ///
    /// - Parameter action: What only that user and root can do, such as `unmount it`.
    /// - Returns: The user's number.
    /// - Throws: If there is no such mount, or it is another user's.
    func owner(for action: String) throws(UserError) -> UInt32 {
        let mount = try self.mount()
        let owner = mount.userID ?? self.environment.userID
        guard self.environment.isRoot || owner == self.environment.userID else {
            throw UserError(
                "\(self.shown) was mounted by user \(owner): only that user or root can \(action)"
            )
        }
        return owner
    }

    /// Where its driver answers.
    ///
    /// - Throws: If somebody else could answer there.
    func socket(of owner: UInt32) throws(UserError) -> String {
        let sockets = ControlAddress.sockets(for: self.mountPoint, userID: owner)
        if let socket = sockets.first(where: { FileStatus(of: $0) != nil }) ?? sockets.first { return socket }
        // A directory that somebody else could have made proves nothing about who listens in it.
        let directory = ControlAddress.directory(userID: owner)
        guard FileStatus(of: directory) == nil else {
            throw UserError(
                "\(Printable.text(directory)) does not belong to user \(owner) alone: not trusted"
            )
        }
        return ControlAddress.socket(for: self.mountPoint, in: directory)
    }

    /// Asks the driver something and waits for its reply.
    ///
    /// - Parameters:
    ///   - request: What is asked.
    ///   - action: What only the mount's user and root can do.
    ///   - silenceLimit: How long the driver may say nothing, in milliseconds.
    /// - Returns: The reply.
    /// - Throws: Why there is none.
    func ask(
        _ request: ControlRequest,
        for action: String,
        silenceLimit: Int32 = ControlClient.silenceLimitInMilliseconds
    ) throws(UserError) -> ControlReply {
        let owner = try self.owner(for: action)
        let socket = try self.socket(of: owner)
        do throws(ControlClient.Failure) {
            var client = try ControlClient(path: socket, userID: owner, silenceLimit: silenceLimit)
            defer { Terminal.clearProgress() }
            return try client.send(request) { Terminal.showProgress($0) }
        } catch {
            throw UserError("cannot ask the driver of \(self.shown): \(Self.reason(error, socket: socket))")
        }
    }

    /// Why nobody answers, for a person.
    static func reason(_ failure: ControlClient.Failure, socket: String) -> String {
        switch failure {
        case .notThere: "nobody answers on \(Printable.text(socket))"
        case .notTrusted: "what answers on \(Printable.text(socket)) is another user's"
        case .refused(let error): "\(Printable.text(socket)): \(error)"
        case .ended: "it ended the conversation"
        case .silent: "it is silent; is it stopped?"
        case .malformed: "its answer makes no sense; is it of another version?"
        }
    }
}
