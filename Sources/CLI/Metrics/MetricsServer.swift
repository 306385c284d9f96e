import Glibc

/// Serves a mount's metrics by HTTP, to whoever is on this machine, on threads of its own.
///
/// As little of HTTP/1.1 as that takes: one GET a connection, within limits of size and time.
final class MetricsServer: Sendable {
    /// Where it listens.
    let address: MetricsAddress
    private let listener: SocketListener

    /// How many may be connected at once: who scrapes is one, or two; others may be silent. More wait for a place.
    private static let maximumConnectionCount = 16
    /// How long a request may take to come in.
    private static let timeLimit = Duration.seconds(1)

    /// Begins to serve.
    ///
    /// - Parameters:
    ///   - address: Where.
    ///   - metrics: Makes the text, at each request; from memory, at once.
    /// - Throws: If it cannot listen there.
    init(_ address: MetricsAddress, metrics: @escaping @Sendable () -> String) throws(UserError) {
        do throws(SystemError) {
            let (descriptor, actual) = try address.listen()
            self.address = actual
            let takesAnyHost = if case .unix = actual { true } else { false }
            self.listener = SocketListener(
                descriptor,
                maximumCount: Self.maximumConnectionCount,
                isPatient: true,
                serve: { Self.serve($0, takesAnyHost, metrics) }
            )
        } catch {
            throw UserError(
                "cannot serve metrics on \(Printable.text(address.description)): \(error)",
                status: .mountFailure
            )
        }
    }

    /// Takes no more requests.
    func stop() {
        if self.listener.stop(), case .unix(let path) = self.address { unlink(path) }
    }

    private static func serve(_ connection: Int32, _ takesAnyHost: Bool, _ metrics: () -> String) {
        defer { close(connection) }
        UnixSocket.limitSending(connection, seconds: 5)
        let response = self.response(to: connection, takesAnyHost, metrics)
        guard UnixSocket.send(response, to: connection) else { return }
        shutdown(connection, Int32(SHUT_WR))
    }

    private static func response(to connection: Int32, _ takesAnyHost: Bool, _ metrics: () -> String)
        -> [UInt8]
    {
        let deadline = ContinuousClock.now + Self.timeLimit
        var bytes: [UInt8] = []
        while true {
            switch MetricsRequest(bytes, takesAnyHost: takesAnyHost) {
            case .metrics: return MetricsRequest.response(.ok, metrics())
            case .refused(let status): return MetricsRequest.response(status, status.rawValue + "\n")
            case .incomplete: break
            }
            let rest = (deadline - ContinuousClock.now) / .milliseconds(1)
            guard rest >= 1, Descriptor.waitUntilReadable(connection, milliseconds: Int32(rest)) else {
                return MetricsRequest.response(.timedOut, "")
            }
            guard let more = try? Descriptor.read(connection, limit: 4096), !more.isEmpty else {
                return MetricsRequest.response(.malformed, "")
            }
            bytes += more
        }
    }
}
