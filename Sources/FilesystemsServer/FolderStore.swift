import CLinux
import Glibc
import WireFormat

/// The files of all filesystems on the disk. Every call waits for the disk: call it on a ``DiskPool``.
///
/// Below `DATA/filesystems/<id>/`, `tree` is what users see and `staging` what is being uploaded. A path that a
/// client names is opened with openat2 beneath its `tree`, so the kernel keeps it inside.
struct FolderStore: Sendable {
    private let filesystems: Descriptor
    private let removed: Descriptor

    /// Opens the two folders of a data directory.
    init(_ directory: DataDirectory) throws(FolderError) {
        self.filesystems = try Descriptor.open(
            "filesystems",
            below: directory.root,
            flags: O_RDONLY | O_DIRECTORY
        )
        self.removed = try Descriptor.open("removed", below: directory.root, flags: O_RDONLY | O_DIRECTORY)
    }

    /// A file that is open for reading: what replaces it meanwhile is not seen.
    struct OpenFile: Sendable {
        let descriptor: Descriptor
        /// In bytes, when it was opened.
        let size: UInt64
    }

    // MARK: Filesystems

    /// Makes the folders of a new filesystem, durably.
    func makeFilesystem(_ id: FilesystemID) throws(FolderError) {
        for folder in [id.rawValue, "\(id)/tree", "\(id)/staging"] {
            guard mkdirat(self.filesystems.number, folder, 0o700) == 0 else {
                throw FolderError(call: "mkdirat", errno: errno)
            }
        }
        let folder = try Descriptor.open(id.rawValue, below: self.filesystems, flags: O_RDONLY | O_DIRECTORY)
        try folder.synchronize()
        try self.filesystems.synchronize()
    }

    /// Takes a filesystem out of sight at once; ``TreeRemover`` deletes its files. None is no error.
    func takeAway(_ id: FilesystemID) throws(FolderError) {
        guard renameat(self.filesystems.number, id.rawValue, self.removed.number, id.rawValue) == 0 else {
            if errno == ENOENT { return }
            throw FolderError(call: "renameat", errno: errno)
        }
        try self.filesystems.synchronize()
    }

    /// Whether a filesystem was taken away and is still being deleted.
    func isTakenAway(_ id: FilesystemID) -> Bool {
        (try? self.removed.status(of: id.rawValue)) != nil
    }

    /// Removes the folders of a filesystem that holds nothing.
    func removeIfEmpty(_ id: FilesystemID) {
        for folder in ["\(id)/staging", "\(id)/tree"] {
            let entries = try? Descriptor.open(folder, below: self.filesystems, flags: O_RDONLY | O_DIRECTORY)
                .entries()
            if entries?.isEmpty == false { return }
        }
        // rmdir(2) itself refuses what has something in it.
        for folder in ["\(id)/staging", "\(id)/tree", id.rawValue] {
            unlinkat(self.filesystems.number, folder, AT_REMOVEDIR)
        }
    }

    /// The ids that have a folder.
    func filesystemIDs() throws(FolderError) -> [FilesystemID] {
        try self.filesystems.entries().compactMap { entry in
            FilesystemID(String(decoding: entry.name, as: UTF8.self))
        }
    }

    /// Where a filesystem's uploads are kept.
    func staging(of id: FilesystemID) throws(FolderError) -> Descriptor {
        try Descriptor.open("\(id)/staging", below: self.filesystems, flags: O_RDONLY | O_DIRECTORY)
    }

    // MARK: Paths

    /// The directory that holds what the path names, which must not be the root.
    func parent(of path: RemotePath, in id: FilesystemID) throws(FolderError) -> Descriptor {
        do {
            return try self.directory(path.parent, in: id)
        } catch .missing {
            throw .parentMissing
        }
    }

    private func directory(_ path: RemotePath, in id: FilesystemID) throws(FolderError) -> Descriptor {
        let tree = try Descriptor.open("\(id)/tree", below: self.filesystems, flags: O_RDONLY | O_DIRECTORY)
        let name = path.isRoot ? "." : path.description
        return try Descriptor.open(name, below: tree, flags: O_RDONLY | O_DIRECTORY)
    }

    /// Refuses what could be made, by its parent and its name, but neither read nor listed: that opens the whole path.
    private static func checkLength(of path: RemotePath) throws(FolderError) {
        // With the NUL at its end it is PATH_MAX.
        guard path.description.utf8.count < Int(PATH_MAX) else { throw .nameTooLong }
    }

    // MARK: Calls

    /// The names in a directory, in byte order; names that are not UTF-8 are counted instead.
    func list(_ path: RemotePath, in id: FilesystemID) throws(FolderError) -> Listing {
        Listing(try self.directory(path, in: id).entries())
    }

    /// Makes a directory, durably: a file completed in it must be found after a power failure.
    func makeDirectory(_ path: RemotePath, in id: FilesystemID) throws(FolderError) {
        guard let name = path.name else { throw .exists }
        try Self.checkLength(of: path)
        let parent = try self.parent(of: path, in: id)
        guard mkdirat(parent.number, name.string, 0o700) == 0 else {
            throw FolderError(call: "mkdirat", errno: errno)
        }
        try parent.synchronize()
    }

    /// Opens a file for reading. A directory, a link or a device is not there.
    func openFile(_ path: RemotePath, in id: FilesystemID) throws(FolderError) -> OpenFile {
        guard !path.isRoot else { throw .missing }
        let tree = try Descriptor.open("\(id)/tree", below: self.filesystems, flags: O_RDONLY | O_DIRECTORY)
        // O_NONBLOCK: a FIFO placed by hand must not hold the thread; on a file it means nothing.
        let file = try Descriptor.open(path.description, below: tree, flags: O_RDONLY | O_NONBLOCK | O_NOCTTY)
        let status = try file.status()
        guard status.isFile else { throw .missing }
        return OpenFile(descriptor: file, size: UInt64(status.st_size))
    }

    /// Deletes a file at once, or takes a directory with all its contents out of sight.
    ///
    /// - Returns: Whether there is something for ``TreeRemover`` to do.
    func delete(_ path: RemotePath, in id: FilesystemID) throws(FolderError) -> Bool {
        guard let name = path.name else { throw .escapes }
        let parent: Descriptor
        let status: stat
        do {
            parent = try self.directory(path.parent, in: id)
            status = try parent.status(of: name.string)
        } catch .missing {
            throw .nothingToDelete
        }
        if status.isDirectory {
            let fresh = RandomName.make()
            guard renameat(parent.number, name.string, self.removed.number, fresh) == 0 else {
                throw errno == ENOENT ? .nothingToDelete : FolderError(call: "renameat", errno: errno)
            }
            return true
        }
        guard status.isFile else { throw .nothingToDelete }
        guard unlinkat(parent.number, name.string, 0) == 0 else {
            throw errno == ENOENT ? .nothingToDelete : FolderError(call: "unlinkat", errno: errno)
        }
        return false
    }

    /// Checks that a file may be uploaded to a path: its parent exists, and it is no directory.
    func checkUpload(to path: RemotePath, in id: FilesystemID) throws(FolderError) {
        guard let name = path.name else { throw .isDirectory }
        try Self.checkLength(of: path)
        let parent = try self.parent(of: path, in: id)
        do throws(FolderError) {
            if try parent.status(of: name.string).isDirectory { throw FolderError.isDirectory }
        } catch .missing {
            return
        }
    }

    /// Puts a staged file, whose bytes are on the disk, in place of what has its name, in one step, durably.
    func commit(_ staged: String, to path: RemotePath, in id: FilesystemID) throws(FolderError) {
        guard let name = path.name else { throw .isDirectory }
        let staging = try self.staging(of: id)
        let parent = try self.parent(of: path, in: id)
        guard renameat(staging.number, staged, parent.number, name.string) == 0 else {
            throw FolderError(call: "renameat", errno: errno)
        }
        try parent.synchronize()
    }
}
