import Glibc

/// Paths as text.
enum FilePath {
    /// The names in a path. The slash is a byte: with a mark that joins it, it would be another character.
    static func parts(_ path: String) -> [String] {
        path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }
    }

    /// Whether it begins at the root.
    static func isAbsolute(_ path: String) -> Bool { path.utf8.first == UInt8(ascii: "/") }

    /// Whether it ends with a slash.
    static func endsWithSlash(_ path: String) -> Bool { path.utf8.last == UInt8(ascii: "/") }

    /// The path from the root, without asking the disk: this process is about to change its directory.
    static func absolute(_ path: String) -> String {
        guard !self.isAbsolute(path) else { return path }
        guard let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        return String(cString: directory) + "/" + path
    }

    /// The path with every symbolic link followed.
    static func real(_ path: String) throws(SystemError) -> String {
        guard let real = realpath(path, nil) else { throw SystemError() }
        defer { free(real) }
        return String(cString: real)
    }

    /// The path with the links of its parent followed, so that its last part itself is not touched.
    ///
    /// What hangs or is dead at a mount point does not matter to it.
    static func realInParent(_ path: String) throws(SystemError) -> String {
        let parts = self.parts(self.absolute(path))
        guard let last = parts.last, last != ".", last != ".." else { return try self.real(path) }
        let parent = try self.real("/" + parts.dropLast().joined(separator: "/"))
        return (parent == "/" ? "" : parent) + "/" + last
    }

    /// A file name that stands for a path, no two paths having the same: `/mnt/a-b` gives `mnt-a\x2db`.
    ///
    /// - Parameters:
    ///   - path: An absolute path.
    ///   - limit: The longest name, in bytes; instead of a longer one stands a number made of it.
    /// - Returns: The name.
    static func nameStanding(for path: String, limit: Int) -> String {
        var name = ""
        for byte in path.utf8.drop(while: { $0 == UInt8(ascii: "/") }) {
            switch byte {
            case UInt8(ascii: "/"): name += "-"
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default: name += "\\x" + self.hexadecimal(UInt64(byte), digits: 2)
            }
        }
        guard name.utf8.count > limit else { return name.isEmpty ? "-" : name }
        // FNV-1a, 64 bits: the same in every process, unlike Swift's own hash.
        let hash = path.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return "@" + self.hexadecimal(hash, digits: 16)
    }

    private static func hexadecimal(_ value: UInt64, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
