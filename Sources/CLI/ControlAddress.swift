import Glibc

/// Where the control socket of a mount is.
enum ControlAddress {
    /// sun_path has 108 bytes with the NUL at the end (unix(7)).
    static let maximumByteCount = 107

    /// The directory of a user's sockets. Whether that user is logged in does not matter: a mount may begin before that,
    /// and end after it.
    static func directory(userID: UInt32) -> String {
        userID == 0 ? "/run/tetherfs" : "/tmp/tetherfs-\(userID)"
    }

    /// What a driver takes where somebody else has taken that name in /tmp: there while the user is logged in.
    private static func spareDirectory(userID: UInt32) -> String? {
        let runtime = "/run/user/\(userID)"
        guard userID != 0, let status = FileStatus(of: runtime), status.isDirectory, status.userID == userID
        else { return nil }
        return runtime + "/tetherfs"
    }

    /// Makes the directory for a new socket.
    ///
    /// - Parameter userID: Whose it is.
    /// - Returns: Its path, the same each time unless somebody else takes that name in between.
    /// - Throws: Says what stands in its place.
    static func makeDirectory(userID: UInt32) throws(UserError) -> String {
        let directory = self.directory(userID: userID)
        do throws(UserError) {
            try PrivateDirectory.makeTrusted(directory, userID: userID)
            return directory
        } catch {
            guard let spare = self.spareDirectory(userID: userID),
                (try? PrivateDirectory.makeTrusted(spare, userID: userID)) != nil
            else { throw error }
            return spare
        }
    }

    /// Where a mount's socket can be: in directories that nobody else could have made.
    static func sockets(for mountPoint: String, userID: UInt32) -> [String] {
        [self.directory(userID: userID), self.spareDirectory(userID: userID)].compactMap(\.self)
            .filter { PrivateDirectory.isTrusted($0, userID: userID) }
            .map { self.socket(for: mountPoint, in: $0) }
    }

    /// Takes away the name of a socket whose driver died.
    ///
    /// - Parameters:
    ///   - mountPoint: The absolute path.
    ///   - userID: Whose mount it was.
    static func removeAbandonedSocket(for mountPoint: String, userID: UInt32) {
        for socket in self.sockets(for: mountPoint, userID: userID) { unlink(socket) }
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
