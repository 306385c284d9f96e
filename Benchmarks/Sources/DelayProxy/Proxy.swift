import Glibc

/// Accepts connections and joins each with one of its own to the server, through two delay lines.
///
/// Four threads a connection: they block, and each does one thing. That is as fast as the copying lets it be.
struct Proxy: Sendable {
    let port: UInt16
    private let settings: Settings
    private let listener: Int32
    private let upward: Link
    private let downward: Link

    init(_ settings: Settings) throws(ProxyError) {
        self.settings = settings
        self.upward = Link(rate: settings.rate)
        self.downward = Link(rate: settings.rate)
        self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard self.listener >= 0 else { throw ProxyError(failed: "socket") }
        setFlag(self.listener, level: SOL_SOCKET, name: SO_REUSEADDR)
        let listener = self.listener
        guard settings.listen.withSocketAddress({ bind(listener, $0, $1) }) == 0 else {
            throw ProxyError(failed: "bind")
        }
        guard Glibc.listen(listener, 1024) == 0 else { throw ProxyError(failed: "listen") }
        var bound = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutableBytes(of: &bound) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { getsockname(listener, $0.baseAddress, &length) }
        }
        guard status == 0 else { throw ProxyError(failed: "getsockname") }
        self.port = UInt16(bigEndian: bound.sin_port)
    }

    /// Serves until accepting fails.
    func run() throws(ProxyError) {
        while true {
            let client = accept(self.listener, nil, nil)
            if client < 0, errno == EINTR || errno == ECONNABORTED { continue }
            guard client >= 0 else { throw ProxyError(failed: "accept") }
            self.join(client)
        }
    }

    private func join(_ client: Int32) {
        let accepted = now()
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard server >= 0, self.settings.to.withSocketAddress({ connect(server, $0, $1) }) == 0 else {
            // The server is not there: the client finds its connection closed.
            close(client)
            if server >= 0 { close(server) }
            return
        }
        let sockets = Sockets(client: client, server: server)
        // The kernel answers the client's SYN at once, so what follows pays for the handshake: the client's
        // first bytes count as sent when it would have known of the connection.
        let oneWay = self.settings.roundTrip / 2
        DelayLine(
            from: client,
            to: server,
            delay: oneWay,
            opensAt: accepted + self.settings.roundTrip,
            link: self.upward,
            of: sockets
        ).start()
        DelayLine(
            from: server,
            to: client,
            delay: oneWay,
            opensAt: accepted,
            link: self.downward,
            of: sockets
        ).start()
    }
}

/// The two ends of a connection; closed when both of its lines are done with them.
final class Sockets: Sendable {
    private let client: Int32
    private let server: Int32

    init(client: Int32, server: Int32) {
        self.client = client
        self.server = server
        for socket in [client, server] {
            setFlag(socket, level: Int32(IPPROTO_TCP), name: TCP_NODELAY)
        }
    }

    deinit {
        close(self.client)
        close(self.server)
    }
}

/// Sets a socket option that is a number to 1; that it cannot be set costs speed, nothing else.
func setFlag(_ socket: Int32, level: Int32, name: Int32) {
    var one: Int32 = 1
    setsockopt(socket, level, name, &one, socklen_t(MemoryLayout<Int32>.size))
}

/// Nanoseconds of the monotonic clock.
func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
