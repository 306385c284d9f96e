import Glibc

/// `delay-proxy --listen 127.0.0.1:0 --to HOST:PORT --round-trip-ms 20`: a TCP proxy that makes a network
/// longer without making it narrower; with `--mib-per-second N` all answers together come no faster than that, and
/// all requests together go no faster.
///
/// Measured on two cores that server, proxy and curl share, 1 GiB in 1, 2 or 8 ranges with one parallel curl,
/// in MiB/s: 2700 to 4300 without the proxy; through it 1650 to 2150 at 0 ms, 1550 to 1900 at 20 ms, 1000 to
/// 1450 at 100 ms. One small request on an open connection: 0.2 ms without it, else 0.4, 20.9 and 101.5 ms.
///
/// It prints one line with the port that it listens on, and runs until it is killed.
@main
enum Main {
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        do {
            let settings = try Settings(arguments: CommandLine.arguments.dropFirst())
            let proxy = try Proxy(settings)
            say("delay-proxy: listening on port \(proxy.port)\n", to: STDOUT_FILENO)
            try proxy.run()
        } catch {
            say("delay-proxy: \(error.text)\n", to: STDERR_FILENO)
            exit(1)
        }
    }

    private static func say(_ line: String, to descriptor: Int32) {
        var line = line
        _ = line.withUTF8 { write(descriptor, $0.baseAddress, $0.count) }
    }
}

/// Why the proxy cannot run.
struct ProxyError: Error {
    let text: String

    init(_ text: String) { self.text = text }

    /// A system call that failed just now.
    init(failed call: String) {
        self.text = "\(call): \(String(cString: strerror(errno)))"
    }
}

/// What the command line says.
struct Settings {
    var listen = Address(host: INADDR_LOOPBACK.bigEndian, port: 0)
    var to: Address
    /// Nanoseconds.
    var roundTrip: Int64
    /// What all connections share on the way back, in bytes per second; nothing for no bound.
    var rate: Int64?

    init(arguments: ArraySlice<String>) throws(ProxyError) {
        var values: [String: String] = [:]
        var rest = arguments
        while let name = rest.popFirst() {
            guard ["--listen", "--to", "--round-trip-ms", "--mib-per-second"].contains(name),
                let value = rest.popFirst()
            else {
                throw ProxyError(
                    "usage: delay-proxy [--listen HOST:PORT] --to HOST:PORT --round-trip-ms N [--mib-per-second N]"
                )
            }
            values[name] = value
        }
        if let text = values["--listen"] { self.listen = try Address(text) }
        self.to = try Address(values["--to"] ?? "")
        guard let milliseconds = Double(values["--round-trip-ms"] ?? ""), (0...60_000).contains(milliseconds)
        else { throw ProxyError("--round-trip-ms must be a number from 0 to 60000") }
        self.roundTrip = Int64(milliseconds * 1_000_000)
        if let text = values["--mib-per-second"] {
            guard let rate = Int64(text), (1...100_000).contains(rate) else {
                throw ProxyError("--mib-per-second must be a whole number from 1 to 100000")
            }
            self.rate = rate << 20
        }
    }
}

/// An IPv4 address and a port.
struct Address {
    /// In network order.
    var host: in_addr_t
    var port: UInt16

    init(host: in_addr_t, port: UInt16) {
        self.host = host
        self.port = port
    }

    init(_ text: String) throws(ProxyError) {
        let parts = text.split(separator: ":")
        var address = in_addr()
        guard parts.count == 2, let port = UInt16(parts[1]),
            inet_pton(AF_INET, String(parts[0]), &address) == 1
        else { throw ProxyError("'\(text)' is not an IPv4 address and a port, such as 127.0.0.1:8080") }
        self.init(host: address.s_addr, port: port)
    }

    /// Calls `body` with the address as the socket calls take it.
    func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = self.port.bigEndian
        address.sin_addr.s_addr = self.host
        return withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { rebound in
                guard let base = rebound.baseAddress else { preconditionFailure("an address has bytes") }
                return body(base, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
