import Glibc

/// Talks to a running driver over its control socket.
struct ControlClient: ~Copyable {
    /// After so long without a word the driver is taken for dead or stuck: six of its heartbeats.
    static let silenceLimitInMilliseconds: Int32 = 30_000

    private let descriptor: Int32
    private let silenceLimit: Int32
    private var lines: LineReader

    /// What kept an answer from coming.
    enum Failure: Error, Equatable {
        /// Nobody listens there.
        case notThere
        /// What listens there is not the driver of that user.
        case notTrusted
        /// The connection could not be made.
        case refused(SystemError)
        /// The driver ended before it answered.
        case ended
        /// The driver says nothing.
        case silent
        /// The answer is none.
        case malformed
    }

    /// Connects.
    ///
    /// - Parameters:
    ///   - path: The socket.
    ///   - userID: Whose driver it must be, unless root's.
    ///   - silenceLimit: How long it may say nothing, in milliseconds.
    /// - Throws: Everything but `.silent` and `.malformed`.
    init(
        path: String,
        userID: UInt32,
        silenceLimit: Int32 = Self.silenceLimitInMilliseconds
    ) throws(Failure) {
        let descriptor = try Self.connect(path, userID)
        self.descriptor = descriptor
        self.silenceLimit = silenceLimit
        self.lines = LineReader(descriptor)
    }

    private static func connect(_ path: String, _ userID: UInt32) throws(Failure) -> Int32 {
        let descriptor: Int32
        do {
            descriptor = try UnixSocket.connect(to: path)
        } catch {
            switch error.code {
            case ENOENT, ECONNREFUSED, ENOTDIR: throw .notThere
            default: throw .refused(error)
            }
        }
        let peer = UnixSocket.peerUserID(descriptor)
        guard peer == userID || peer == 0 else {
            close(descriptor)
            throw .notTrusted
        }
        return descriptor
    }

    deinit { close(self.descriptor) }

    /// Asks and waits for the reply, as long as the driver keeps saying that it is there.
    ///
    /// - Parameters:
    ///   - request: What to ask.
    ///   - progress: Gets the driver's lines until then.
    /// - Returns: The reply.
    /// - Throws: `.ended`, `.silent` or `.malformed`.
    mutating func send(
        _ request: ControlRequest,
        progress: (String) -> Void = { _ in }
    ) throws(Failure) -> ControlReply {
        guard let line = try? ControlLine.encode(request), UnixSocket.send(line, to: self.descriptor) else {
            throw .ended
        }
        while true {
            switch self.lines.next(milliseconds: self.silenceLimit) {
            case .silent: throw .silent
            case .ended: throw .ended
            case .line(let line):
                if let reply = ControlLine.decode(ControlReply.self, line) { return reply }
                guard let line = ControlLine.decode(ControlProgress.self, line) else { throw .malformed }
                if let text = line.progress { progress(Printable.text(text)) }
            }
        }
    }

    /// Waits until the driver's process is gone.
    ///
    /// - Parameters:
    ///   - processID: Its id, by its own reply.
    ///   - limit: How long.
    /// - Returns: Whether it is gone.
    mutating func waitForEnd(of processID: Int32?, limit: Duration) -> Bool {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            switch self.lines.next(milliseconds: 200) {
            case .silent, .line: break
            // The kernel closes the socket when the process ends, a little before the id is free.
            case .ended:
                guard let processID else { return true }
                while Processes.isRunning(processID) {
                    guard ContinuousClock.now < deadline else { return false }
                    usleep(20_000)
                }
                return true
            }
        }
        return false
    }
}
