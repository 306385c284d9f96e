import Glibc
import Synchronization

/// A server of raw bytes on a free loopback port: each connection gets a thread and a script.
final class LoopbackServer: Sendable {
    typealias Script = @Sendable (LoopbackConnection) -> Void

    let port: UInt16
    private let listener: Int32
    private let script: Script
    private let accepted = Atomic<Int>(0)
    private let isStopped = Atomic<Bool>(false)

    init(_ script: @escaping Script) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 128) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isBound else { throw LoopbackError() }
        self.listener = listener
        self.port = UInt16(bigEndian: address.sin_port)
        self.script = script
        startThread { [weak self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0, let self else {
                    // Here alone: a number that another thread closes may be somebody else's by now.
                    Glibc.close(listener)
                    return
                }
                self.accepted.add(1, ordering: .relaxed)
                let script = self.script
                startThread {
                    let connection = LoopbackConnection(descriptor)
                    script(connection)
                    connection.close()
                }
            }
        }
    }

    deinit { self.stop() }

    /// The root's URL.
    var url: String { "http://127.0.0.1:\(self.port)" }

    /// How many connections were made.
    var connectionCount: Int { self.accepted.load(ordering: .relaxed) }

    /// Takes no more connections; the port then refuses them.
    func stop() {
        if self.isStopped.exchange(true, ordering: .relaxed) { return }
        shutdown(self.listener, Int32(SHUT_RDWR))
    }
}

struct LoopbackError: Error {}

/// The server's end of a connection; it belongs to the script's thread.
final class LoopbackConnection {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var isClosed = false

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Reads a request's head, with the empty line; nothing if the client has closed.
    func readHead() -> String? {
        while true {
            let end = Array("\r\n\r\n".utf8)
            if let start = self.buffer.firstRange(of: end) {
                let head = Array(self.buffer[..<start.upperBound])
                self.buffer.removeSubrange(..<start.upperBound)
                return String(decoding: head, as: UTF8.self)
            }
            guard self.fill() else { return nil }
        }
    }

    /// Reads so many bytes of a body, or fewer if the client closes.
    func readBody(_ count: Int) -> [UInt8] {
        while self.buffer.count < count, self.fill() {}
        let body = Array(self.buffer.prefix(count))
        self.buffer.removeFirst(body.count)
        return body
    }

    /// Waits until the client closes: a server that does not answer.
    func waitForClose() {
        while self.fill() { self.buffer.removeAll() }
    }

    /// Sends text.
    func write(_ text: String) { self.write(Array(text.utf8)) }

    /// Sends bytes; a client that has closed is not a failure.
    func write(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                send(
                    self.descriptor,
                    buffer.baseAddress?.advanced(by: sent),
                    buffer.count - sent,
                    Int32(MSG_NOSIGNAL)
                )
            }
            if count <= 0 { return }
            sent += count
        }
    }

    /// Sends an answer with its length.
    func answer(_ body: [UInt8] = [], status: String = "200 OK", headers: String = "") {
        // In one piece, or the second waits for the first one's acknowledgement.
        self.write(
            Array("HTTP/1.1 \(status)\r\nContent-Length: \(body.count)\r\n\(headers)\r\n".utf8) + body
        )
    }

    func close() {
        if self.isClosed { return }
        self.isClosed = true
        Glibc.close(self.descriptor)
    }

    private func fill() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(self.descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return false }
        self.buffer.append(contentsOf: bytes[..<count])
        return true
    }
}

/// Runs something on a thread of its own, which may block.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread,
        nil,
        { context in
            if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        },
        box.toOpaque()
    )
    precondition(code == 0, "a thread can be started")
    pthread_detach(thread)
}

/// Something that happens once, to be awaited.
final class Event: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (self.stream, self.continuation) = AsyncStream.makeStream() }

    func signal() {
        self.continuation.yield()
        self.continuation.finish()
    }

    func wait() async {
        for await _ in self.stream { return }
    }
}
