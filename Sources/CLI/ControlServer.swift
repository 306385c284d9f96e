import Glibc

/// Answers on the control socket of a running driver, on threads of its own.
final class ControlServer: Sendable {
    /// Does what is asked; `progress` takes a line for whoever waits, and never waits itself.
    ///
    /// Cancelled when nobody waits for the reply any more.
    typealias Handler =
        @Sendable (ControlRequest, _ progress: @escaping @Sendable (String) -> Void) async -> ControlReply

    /// How many may be connected at once; one more is turned away.
    static let maximumConnectionCount = 16

    /// The socket's path.
    let path: String
    private let listener: SocketListener

    /// Makes the socket and begins to answer. The directory is there and only the user's.
    ///
    /// - Parameters:
    ///   - path: Where; the socket of a process that is gone is replaced.
    ///   - userID: Who may ask, besides root.
    ///   - handler: Does what is asked.
    /// - Throws: Also if another process answers there.
    init(path: String, userID: UInt32 = geteuid(), handler: @escaping Handler) throws(UserError) {
        self.path = path
        self.listener = SocketListener(
            try Self.listen(at: path),
            maximumCount: Self.maximumConnectionCount,
            admits: { connection in
                let peer = UnixSocket.peerUserID(connection)
                return peer == userID || peer == 0
            },
            serve: { ControlConnection($0, handler).serve() }
        )
    }

    /// Makes the socket of a mount, and its directory.
    convenience init(mountPoint: String, environment: Environment, handler: @escaping Handler)
        throws(UserError)
    {
        let directory = try ControlAddress.makeDirectory(userID: environment.userID)
        try self.init(
            path: ControlAddress.socket(for: mountPoint, in: directory),
            userID: environment.userID,
            handler: handler
        )
    }

    /// Takes no more connections and removes the socket's name. Who is connected stays so until this process ends.
    func stop() {
        if self.listener.stop() { unlink(self.path) }
    }

    private static func listen(at path: String) throws(UserError) -> Int32 {
        do {
            return try UnixSocket.listen(at: path)
        } catch {
            let shown = Printable.text(path)
            if error.code == EADDRINUSE { throw UserError("another driver answers on \(shown)") }
            throw UserError("cannot make the control socket \(shown): \(error)")
        }
    }
}
