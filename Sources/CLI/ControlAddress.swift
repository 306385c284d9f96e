import Glibc

/// Where the control socket of a mount is.
enum ControlAddress {
    /// sun_path has 108 bytes with the NUL at the end (unix(7)).
    static let maximumByteCount = 107

    /// The directory of a user's sockets.
    static func directory(userID: UInt32) -> String {
        if userID == 0 { return "/run/tetherfs" }
        // What pam_systemd makes at login; absent in containers and for services.
        let runtime = "/run/user/\(userID)"
        if let status = FileStatus(of: runtime), status.isDirectory, status.userID == userID {
            return runtime + "/tetherfs"
        }
        return "/tmp/tetherfs-\(userID)"
    }

    /// Takes away the name of a socket whose driver died.
    ///
    /// - Parameters:
    ///   - mountPoint: The absolute path.
    ///   - userID: Whose mount it was.
    static func removeAbandonedSocket(for mountPoint: String, userID: UInt32) {
        let directory = self.directory(userID: userID)
        if PrivateDirectory.isTrusted(directory, userID: userID) {
            unlink(self.socket(for: mountPoint, in: directory))
        }
    }

    /// The socket of one mount.
    ///
    /// - Parameters:
    ///   - mountPoint: The absolute path.
    ///   - directory: Where the sockets are.
    /// - Returns: Its path, short enough for a socket's address.
    static func socket(for mountPoint: String, in directory: String) -> String {
        let suffix = ".sock"
        let limit = self.maximumByteCount - directory.utf8.count - 1 - suffix.utf8.count
        return "\(directory)/\(FilePath.nameStanding(for: mountPoint, limit: limit))\(suffix)"
    }
}
