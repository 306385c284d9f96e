import WireFormat

/// The calls about filesystems themselves.
public protocol FilesystemsService: Sendable {
    /// Those that the key's user owns and those shared with it.
    func filesystems() async throws(RemoteError) -> [FilesystemBody]

    /// Creates one.
    ///
    /// - Throws: `.alreadyExists` if the user has one of that name.
    func createFilesystem(named name: String) async throws(RemoteError) -> FilesystemBody

    /// Deletes one with all that is in it.
    func deleteFilesystem(_ id: FilesystemID) async throws(RemoteError)

    /// Lets another user use one.
    ///
    /// - Parameters:
    ///   - id: The filesystem.
    ///   - grantee: The other user's id, a UUID.
    /// - Throws: `.alreadyExists` if it was shared already.
    func shareFilesystem(_ id: FilesystemID, with grantee: String) async throws(RemoteError)
}
