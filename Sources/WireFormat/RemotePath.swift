/// Where something is in a filesystem: the names from its root down.
///
/// There is no `..` in it and no empty component, since ``FileName`` holds neither.
public struct RemotePath: Hashable, Sendable, CustomStringConvertible {
    /// The names, the root's child first; empty for the root itself.
    public private(set) var components: [FileName]

    /// The filesystem's root directory.
    public static let root = RemotePath(components: [])

    /// Makes a path of names.
    public init(components: [FileName]) {
        self.components = components
    }

    /// Reads a path written with `/`; doubled, leading and trailing slashes count for nothing.
    ///
    /// Nothing is returned if a component cannot be a name: `.`, `..`, with a NUL, or over 255 bytes.
    public init?(_ text: String) {
        var components: [FileName] = []
        for part in text.utf8.split(separator: UInt8(ascii: "/")) {
            guard let name = FileName(bytes: part) else { return nil }
            components.append(name)
        }
        self.components = components
    }

    /// Whether this is the root directory.
    public var isRoot: Bool { self.components.isEmpty }

    /// The last name, none for the root.
    public var name: FileName? { self.components.last }

    /// The directory that this is in; the root's parent is the root.
    public var parent: RemotePath { RemotePath(components: Array(self.components.dropLast())) }

    /// The path of a child.
    public func appending(_ name: FileName) -> RemotePath {
        RemotePath(components: self.components + [name])
    }

    /// The names joined with `/`, without one at the start: `a/b`.
    public var description: String { self.components.map(\.string).joined(separator: "/") }

    /// The path as it goes into a URL: every byte but RFC 3986's unreserved ones and the slashes is encoded.
    public var percentEncoded: String {
        self.components.map { PercentEncoding.encode($0.string) }.joined(separator: "/")
    }
}

/// Percent-encoding (RFC 3986, section 2.1).
public enum PercentEncoding {
    /// Encodes every byte that is not unreserved (letters, digits, `-._~`).
    public static func encode(_ text: String) -> String {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            if Self.isUnreserved(byte) {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(Self.digits[Int(byte >> 4)])
                encoded.append(Self.digits[Int(byte & 15)])
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Decodes once; nothing if a `%` is not followed by two hexadecimal digits.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var decoded: [UInt8] = []
        var bytes = text.utf8.makeIterator()
        while let byte = bytes.next() {
            guard byte == UInt8(ascii: "%") else {
                decoded.append(byte)
                continue
            }
            guard let high = bytes.next().flatMap(Self.value), let low = bytes.next().flatMap(Self.value)
            else {
                return nil
            }
            decoded.append(high << 4 | low)
        }
        return decoded
    }

    private static let digits = Array("0123456789ABCDEF".utf8)

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
