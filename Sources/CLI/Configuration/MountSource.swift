/// FILESYSTEM, which mount(8) calls SOURCE: a name or an id, or a URL whose last part is one.
struct MountSource: Sendable, Equatable {
    /// As it was typed, byte for byte: the mount's source in /proc/self/mounts.
    // With any other source `mount -a` run twice stacks a second mount.
    let text: String
    /// The filesystem's name or id.
    let filesystem: String
    /// Where the service is, if it is a URL.
    let endpoint: Setting?

    /// Takes what was typed.
    ///
    /// - Throws: If it is empty, or a URL that no filesystem can be at.
    init(_ text: String) throws(UserError) {
        guard !text.isEmpty else { throw UserError("FILESYSTEM is empty: give a name or an id") }
        self.text = text
        guard ["https://", "http://"].contains(where: { text.lowercased().hasPrefix($0) }) else {
            self.filesystem = text
            self.endpoint = nil
            return
        }
        var url = text[...]
        while url.last == "/" { url.removeLast() }
        // Not repeated in errors: a URL may carry a password.
        guard let slash = url.lastIndex(of: "/"), let name = Self.decoded(url[url.index(after: slash)...]),
            url[..<slash].hasSuffix("/") == false
        else {
            throw UserError(
                "FILESYSTEM must be a name, an id, or a URL with one at its end such as https://host/v1/data; in a URL "
                    + "other characters than letters and digits are written as %20 and so on"
            )
        }
        self.filesystem = name
        self.endpoint = Setting(text: String(url[..<slash]), origin: "the URL in FILESYSTEM")
    }

    /// A part of a URL's path as it is without percent-encoding; nothing if it is none.
    private static func decoded(_ part: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = part.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                let digits = rest.prefix(2)
                rest = rest.dropFirst(2)
                let text = String(decoding: digits, as: UTF8.self)
                guard text.count == 2, text.first?.isHexDigit == true, let value = UInt8(text, radix: 16)
                else {
                    return nil
                }
                bytes.append(value)
            case UInt8(ascii: "?"), UInt8(ascii: "#"): return nil
            default: bytes.append(byte)
            }
        }
        return bytes.isEmpty ? nil : String(validating: bytes, as: UTF8.self)
    }
}
