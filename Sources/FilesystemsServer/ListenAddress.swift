import ArgumentParser

/// `HOST:PORT` as `--listen` takes it; an IPv6 address stands in brackets.
struct ListenAddress: ExpressibleByArgument, Sendable, CustomStringConvertible {
    /// A name or an address, without brackets.
    let host: String
    /// 0 lets the kernel choose.
    let port: Int

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"),
            let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        var host = argument[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: Int(port))
    }

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// As it stands in a URL.
    var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}
