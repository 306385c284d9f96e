/// The server's name for a filesystem, a UUID wherever one has been seen.
public struct FilesystemID: Hashable, Sendable, CustomStringConvertible {
    /// The text as it stands in URLs.
    public let rawValue: String

    /// Takes letters, digits, `-` and `_`, so that it is safe in a URL and as a file's name; nothing else.
    public init?(_ text: String) {
        guard Identifier.isPlain(text, maximumByteCount: 64) else { return nil }
        self.rawValue = text
    }

    /// The text itself.
    public var description: String { self.rawValue }
}

/// The server's name for one multipart upload.
public struct UploadID: Hashable, Sendable, CustomStringConvertible {
    /// The text as it stands in bodies and headers.
    public let rawValue: String

    /// Takes letters, digits, `-` and `_`, so that it cannot end a header or a bracket; nothing else.
    public init?(_ text: String) {
        guard Identifier.isPlain(text, maximumByteCount: 256) else { return nil }
        self.rawValue = text
    }

    /// The text itself.
    public var description: String { self.rawValue }
}

private enum Identifier {
    static func isPlain(_ text: String, maximumByteCount: Int) -> Bool {
        (1...maximumByteCount).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
