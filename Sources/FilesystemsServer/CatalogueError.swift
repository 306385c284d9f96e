/// What the catalogue refuses.
enum CatalogueError: Error {
    /// A user, or a filesystem of that owner, has the name already.
    case nameTaken(String)
    /// Another user has that key.
    case keyTaken
    /// The grantee has it already.
    case alreadyShared
    /// No user has that name or id.
    case noSuchUser
    /// The user owns as many filesystems as anybody may.
    case tooManyFilesystems
    /// The filesystem is gone.
    case noSuchFilesystem
}
