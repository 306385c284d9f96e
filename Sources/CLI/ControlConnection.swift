import Dispatch
import Glibc
import Synchronization

/// One client of the control socket, served on the calling thread.
final class ControlConnection: Sendable {
    /// How often something is sent while a reply is not ready: the client takes long silence for a dead driver.
    static let heartbeat = Duration.seconds(5)

    private let descriptor: Int32
    private let handler: ControlServer.Handler
    private let state = Mutex(State())

    private struct State {
        /// Once a line was cut, nothing more can be said.
        var isBroken = false
        var lastProgress: String?
        var lastSent = ContinuousClock.now
    }

    /// Takes a connection, which it closes in the end.
    init(_ descriptor: Int32, _ handler: @escaping ControlServer.Handler) {
        self.descriptor = descriptor
        self.handler = handler
        UnixSocket.limitSending(descriptor, seconds: 10)
    }

    /// Answers request after request until the client is gone.
    func serve() {
        defer { close(self.descriptor) }
        var lines = LineReader(self.descriptor)
        while case .line(let line) = lines.next(milliseconds: -1) {
            var reply = self.reply(to: line)
            reply.processID = getpid()
            guard let bytes = try? ControlLine.encode(reply), self.send(bytes, isPatient: true) else {
                return
            }
        }
    }

    private func reply(to line: [UInt8]) -> ControlReply {
        guard let request = ControlLine.decode(ControlRequest.self, line) else {
            return ControlReply(
                ok: false,
                message: "this driver does not know that request; is it of another version?"
            )
        }
        let handler = self.handler
        do {
            return try Blocking.run(checkingEvery: .milliseconds(250), { self.isClientThere() }) { [self] in
                await handler(request) { self.show($0) }
            }
        } catch {
            return ControlReply(ok: false, message: Printable.text("\(error)"))
        }
    }

    private func show(_ progress: String) {
        let isNew = self.state.withLock { state in
            defer { state.lastProgress = progress }
            return state.lastProgress != progress
        }
        if isNew { self.sendProgress(progress) }
    }

    /// Says something now and then, and looks whether anybody still listens.
    private func isClientThere() -> Bool {
        let (isDue, progress) = self.state.withLock { state in
            (ContinuousClock.now - state.lastSent >= Self.heartbeat, state.lastProgress)
        }
        if isDue { self.sendProgress(progress) }
        // POLLRDHUP (poll(2)) is behind _GNU_SOURCE: the client closed its side.
        var poll = pollfd(fd: self.descriptor, events: 0x2000, revents: 0)
        return Glibc.poll(&poll, 1, 0) == 0 && !self.state.withLock { $0.isBroken }
    }

    private func sendProgress(_ text: String?) {
        // The caller may be a task, which may not wait.
        if let bytes = try? ControlLine.encode(ControlProgress(progress: text)) {
            _ = self.send(bytes, isPatient: false)
        }
    }

    /// Sends a line whole, or none after it.
    private func send(_ bytes: [UInt8], isPatient: Bool) -> Bool {
        self.state.withLock { state in
            guard !state.isBroken else { return false }
            state.lastSent = .now
            state.isBroken = !UnixSocket.send(bytes, to: self.descriptor, isPatient: isPatient)
            return !state.isBroken
        }
    }
}
