import Glibc
import Synchronization

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
    private let handler: Handler
    private let userID: UInt32
    private let state: Mutex<State>

    private struct State {
        var listener: Int32?
        var connectionCount = 0
    }

    /// Makes the socket and begins to answer. The directory is there and only the user's.
    ///
    /// - Parameters:
    ///   - path: Where; the socket of a process that is gone is replaced.
    ///   - userID: Who may ask, besides root.
    ///   - handler: Does what is asked.
    /// - Throws: Also if another process answers there.
    init(path: String, userID: UInt32 = geteuid(), handler: @escaping Handler) throws(UserError) {
        self.path = path
        self.handler = handler
        self.userID = userID
        let listener = try Self.listen(at: path)
        self.state = Mutex(State(listener: listener))
        DetachedThread.start { [self] in self.accept(from: listener) }
    }

    /// Makes the socket of a mount, and its directory.
    convenience init(mountPoint: String, environment: Environment, handler: @escaping Handler)
        throws(UserError)
    {
        let directory = ControlAddress.directory(userID: environment.userID)
        try PrivateDirectory.makeTrusted(directory, userID: environment.userID)
        try self.init(
            path: ControlAddress.socket(for: mountPoint, in: directory),
            userID: environment.userID,
            handler: handler
        )
    }

    /// Takes no more connections and removes the socket's name. Who is connected stays so until this process ends.
    func stop() {
        let listener = self.state.withLock { state in
            defer { state.listener = nil }
            return state.listener
        }
        guard let listener else { return }
        unlink(self.path)
        // Wakes the thread that waits in accept, which closes it.
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private static func listen(at path: String) throws(UserError) -> Int32 {
        do {
            return try self.listener(at: path)
        } catch {
            let shown = Printable.text(path)
            if error.code == EADDRINUSE { throw UserError("another driver answers on \(shown)") }
            throw UserError("cannot make the control socket \(shown): \(error)")
        }
    }

    private static func listener(at path: String) throws(SystemError) -> Int32 {
        let descriptor = try UnixSocket.make()
        do throws(SystemError) {
            try self.bind(descriptor, to: path)
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func bind(_ descriptor: Int32, to path: String) throws(SystemError) {
        do {
            try UnixSocket.bind(descriptor, to: path)
        } catch {
            // A name outlives its process; whether somebody listens shows only when one knocks.
            guard error.code == EADDRINUSE, self.isAbandoned(path) else { throw error }
            unlink(path)
            try UnixSocket.bind(descriptor, to: path)
        }
        guard Glibc.listen(descriptor, 8) == 0 else { throw SystemError() }
    }

    private static func isAbandoned(_ path: String) -> Bool {
        do {
            close(try UnixSocket.connect(to: path))
            return false
        } catch {
            return error.code == ECONNREFUSED
        }
    }

    private func accept(from listener: Int32) {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            if connection < 0 {
                let code = errno
                guard self.isListening else { break }
                // Out of descriptors or memory, or a peer that was quicker: none of them is for ever.
                if code != EINTR && code != ECONNABORTED { usleep(100_000) }
                continue
            }
            Descriptor.closeOnExec(connection)
            guard self.isListening, self.isTrusted(connection), self.enter() else {
                close(connection)
                continue
            }
            let isServed = DetachedThread.start { [self] in
                ControlConnection(connection, self.handler).serve()
                self.leave()
            }
            if !isServed {
                close(connection)
                self.leave()
            }
        }
        close(listener)
    }

    private var isListening: Bool {
        self.state.withLock { $0.listener != nil }
    }

    private func isTrusted(_ connection: Int32) -> Bool {
        let peer = UnixSocket.peerUserID(connection)
        return peer == self.userID || peer == 0
    }

    private func enter() -> Bool {
        self.state.withLock { state in
            guard state.connectionCount < Self.maximumConnectionCount else { return false }
            state.connectionCount += 1
            return true
        }
    }

    private func leave() {
        self.state.withLock { $0.connectionCount -= 1 }
    }
}
