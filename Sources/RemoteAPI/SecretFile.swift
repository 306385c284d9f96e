/// Files that hold a secret.
public enum SecretFile {
    /// Whether others than who should can read a file.
    ///
    /// - Parameters:
    ///   - permissions: Its permission bits.
    ///   - owner: Its owner's number.
    ///   - reader: The number of who is about to use it.
    /// - Returns: Whether the file must not be used as it is.
    public static func isExposed(permissions: UInt32, owner: UInt32, reader: UInt32) -> Bool {
        if permissions & 0o007 != 0 { return true }
        // What root lends to a group, as systemd does with a credential of a service that is not root's.
        let isLent = owner == 0 && reader != 0
        return permissions & 0o070 != 0 && !isLent
    }

    /// The line for a file that is exposed.
    ///
    /// - Parameters:
    ///   - file: What it is called.
    ///   - path: Where it is.
    /// - Returns: That, and what to run.
    public static func refusal(of file: String, at path: String) -> String {
        "\(file) can be read by others; run: chmod 600 \(ShellWord.quoted(path))"
    }
}
