/// Where the service is: `http(s)://host[:port][/prefix]`.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    /// The URL without a slash at its end.
    public let url: String

    /// Takes an `http` or `https` URL with a host; no query, no fragment, and no user or password, which would be
    /// seen in `ps`. Nothing for anything else.
    public init?(_ text: String) {
        var text = Substring(text)
        while text.last == "/" { text.removeLast() }
        guard let scheme = ["https://", "http://"].first(where: { text.lowercased().hasPrefix($0) }) else {
            return nil
        }
        let rest = text.dropFirst(scheme.count)
        let host = rest.prefix { $0 != "/" }
        guard !host.isEmpty, !host.hasPrefix(":"), rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            !rest.contains(where: { "@?#\"<>\\^`{|}".contains($0) })
        else { return nil }
        self.url = String(text)
    }

    /// Whether the key travels encrypted.
    public var isEncrypted: Bool { self.url.lowercased().hasPrefix("https://") }

    /// The URL.
    public var description: String { self.url }
}
