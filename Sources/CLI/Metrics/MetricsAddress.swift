import Glibc

/// Where metrics are served: on this machine alone.
enum MetricsAddress: Sendable, Equatable, CustomStringConvertible {
    /// Of 127.0.0.0/8: its last three bytes.
    case ipv4(UInt32, port: UInt16)
    /// ::1.
    case ipv6(port: UInt16)
    /// A socket's absolute path.
    case unix(String)

    /// Reads `127.0.0.1:PORT`, `[::1]:PORT` or a path; nothing for anything else, such as an address that others reach.
    init?(_ text: String) {
        if text.hasPrefix("/") {
            guard text.utf8.count <= ControlAddress.maximumByteCount, !text.hasSuffix("/") else { return nil }
            self = .unix(text)
            return
        }
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else {
            return nil
        }
        let host = text[..<colon]
        if host == "[::1]" {
            self = .ipv6(port: port)
            return
        }
        var address = in_addr()
        guard inet_pton(AF_INET, String(host), &address) == 1 else { return nil }
        let number = UInt32(bigEndian: address.s_addr)
        guard number >> 24 == 127 else { return nil }
        self = .ipv4(number, port: port)
    }

    /// As it is written.
    var description: String {
        switch self {
        case .ipv4(let number, let port):
            "\(number >> 24).\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255):\(port)"
        case .ipv6(let port): "[::1]:\(port)"
        case .unix(let path): path
        }
    }

    /// Makes a socket that listens there.
    ///
    /// - Returns: The socket, and where it listens: a port of 0 is one that the system chose.
    func listen() throws(SystemError) -> (descriptor: Int32, address: MetricsAddress) {
        switch self {
        case .unix(let path): return (try UnixSocket.listen(at: path), self)
        case .ipv4(let number, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = number.bigEndian
            address.sin_port = port.bigEndian
            let descriptor = try Self.listen(AF_INET, &address)
            return (descriptor, .ipv4(number, port: UInt16(bigEndian: address.sin_port)))
        case .ipv6(let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_addr = in6addr_loopback
            address.sin6_port = port.bigEndian
            let descriptor = try Self.listen(AF_INET6, &address)
            return (descriptor, .ipv6(port: UInt16(bigEndian: address.sin6_port)))
        }
    }

    /// Listens at an address, in which it puts the port that it got.
    private static func listen<Address>(_ family: Int32, _ address: inout Address) throws(SystemError)
        -> Int32
    {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError() }
        var one: Int32 = 1
        // A mount that is made anew at once finds the last one's port free.
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var length = socklen_t(MemoryLayout<Address>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && Glibc.listen(descriptor, 8) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        guard isBound else {
            let error = SystemError()
            close(descriptor)
            throw error
        }
        return descriptor
    }
}
