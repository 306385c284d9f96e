import Glibc

/// Directories that only their owner may use.
enum PrivateDirectory {
    /// Makes a directory and its missing parents, mode 0700; one that is there is left as it is.
    static func make(_ path: String) throws(SystemError) {
        var made = ""
        for part in FilePath.parts(path) {
            made += "/" + part
            guard mkdir(made, 0o700) != 0 else { continue }
            let error = SystemError()
            // Not writable but there, such as / on a read-only root, is fine on the way down.
            guard let status = try? FileStatus(following: made), status.isDirectory else { throw error }
        }
    }

    /// Makes a directory below one where others may write, and makes sure that it is ours alone.
    ///
    /// - Throws: Says what stands in its place.
    static func makeTrusted(_ path: String, userID: UInt32) throws(UserError) {
        if mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw UserError("cannot create \(Printable.text(path)): \(SystemError())")
        }
        guard self.isTrusted(path, userID: userID) else {
            throw UserError("\(Printable.text(path)) must be a directory of yours with mode 0700: remove it")
        }
    }

    /// Whether it is a directory, no symbolic link, that only that user may use.
    static func isTrusted(_ path: String, userID: UInt32) -> Bool {
        guard let status = FileStatus(of: path) else { return false }
        return status.isDirectory && status.userID == userID && status.permissions & 0o077 == 0
    }
}
