import Glibc

/// What can go wrong with the files of a filesystem.
enum FolderError: Error {
    /// Neither file nor directory has that path, or not the kind that was asked for.
    case missing
    /// The directory that should hold it does not exist.
    case parentMissing
    /// There is nothing there that can be deleted.
    case nothingToDelete
    /// The name is taken.
    case exists
    /// A directory is where a file should go.
    case isDirectory
    /// The path is longer than the kernel takes (PATH_MAX, 4096 bytes, or NAME_MAX for a name).
    case nameTooLong
    /// The file would be larger than the disk's file system allows.
    case tooLarge
    /// The path leads out of the filesystem's directory.
    case escapes
    /// The disk, or a quota on it, is full.
    case noSpace
    /// Anything else: the system call and its errno.
    case system(call: String, errno: Int32)

    /// What a failed system call means.
    init(call: String, errno code: Int32) {
        switch code {
        // ELOOP: openat2 met a symbolic link, which only a person with access to the disk can have placed.
        case ENOENT, ENOTDIR, ELOOP: self = .missing
        case EEXIST: self = .exists
        case EISDIR: self = .isDirectory
        case ENAMETOOLONG: self = .nameTooLong
        case EFBIG: self = .tooLarge
        case EXDEV: self = .escapes
        case ENOSPC, EDQUOT: self = .noSpace
        default: self = .system(call: call, errno: code)
        }
    }
}
