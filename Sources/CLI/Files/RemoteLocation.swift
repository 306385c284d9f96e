import WireFormat

/// A place in a filesystem as it is typed: `NAME:/path`. The slash may be missing, as paths begin at the root.
struct RemoteLocation: Hashable, Sendable {
    /// The filesystem's name or id.
    let filesystem: String
    /// The place in it.
    let path: RemotePath

    /// Reads a text; nothing if it names a local file: without a colon, or with a slash before the first one.
    ///
    /// - Throws: If no path of a filesystem can be like that.
    init?(_ text: String) throws(UserError) {
        // By bytes: a mark that joins them would make other characters of them.
        let bytes = text.utf8
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon != bytes.startIndex,
            !bytes[..<colon].contains(UInt8(ascii: "/"))
        else { return nil }
        let parts = FilePath.parts(String(Substring(bytes[bytes.index(after: colon)...]))).filter {
            $0 != "."
        }
        guard let path = RemotePath(parts.joined(separator: "/")) else {
            throw UserError(
                "\(Printable.text(text)): a path in a filesystem has no '..' and no name of more than 255 bytes"
            )
        }
        self.filesystem = String(Substring(bytes[..<colon]))
        self.path = path
    }

    /// Takes the parts.
    init(filesystem: String, path: RemotePath) {
        self.filesystem = filesystem
        self.path = path
    }

    /// Reads a text that must be one.
    static func required(_ text: String) throws(UserError) -> RemoteLocation {
        if let location = try RemoteLocation(text) { return location }
        let name = FilePath.parts(text).first ?? "NAME"
        throw UserError(
            "'\(Printable.text(text))' is no place in a filesystem; write it as NAME:/path, such as "
                + "\(Printable.text(name, limit: 60)):/"
        )
    }

    /// Another place of the same filesystem.
    func at(_ path: RemotePath) -> RemoteLocation { RemoteLocation(filesystem: self.filesystem, path: path) }

    /// As it is typed.
    var text: String { "\(self.filesystem):/\(self.path)" }
    /// As it is shown in a line for a person.
    var shown: String { Printable.text(self.text, limit: 400) }
}
