import Glibc

/// What lstat(2) or stat(2) says of a name.
struct FileStatus: Sendable {
    /// The owner.
    let userID: UInt32
    /// The permission bits.
    let permissions: UInt32
    /// The device and inode, to tell two descriptors apart.
    let identity: (device: UInt64, inode: UInt64)
    private let type: UInt32

    /// Looks at a name, not at what a symbolic link there points to. Nothing if there is none.
    init?(of path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// Looks at what a name leads to.
    init(following path: String) throws(SystemError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw SystemError() }
        self.init(status)
    }

    /// Looks at an open descriptor. Nothing if it is closed.
    init?(of descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        self.userID = status.st_uid
        self.permissions = status.st_mode & 0o7777
        self.identity = (UInt64(status.st_dev), UInt64(status.st_ino))
        self.type = status.st_mode & S_IFMT
    }

    /// Whether it is a directory.
    var isDirectory: Bool { self.type == S_IFDIR }
    /// Whether it is a regular file.
    var isFile: Bool { self.type == S_IFREG }
    /// Whether it is a pipe.
    var isPipe: Bool { self.type == S_IFIFO }
    /// Whether it is a socket.
    var isSocket: Bool { self.type == S_IFSOCK }
}
