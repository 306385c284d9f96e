import Dispatch
import Glibc
import WireFormat

/// Calls that wait for the local disk, off Swift's pool, which is as wide as the cores.
enum LocalDisk {
    private static let queue = DispatchQueue(label: "tetherfs.local-disk", attributes: .concurrent)

    /// Makes calls on another thread.
    static func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            self.queue.async {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// What a name in a local directory stands for.
    enum Kind: Sendable, Equatable {
        case file
        case directory
        /// What no filesystem of the service can have, in words.
        case other(String)

        init(mode: UInt32) {
            switch mode & S_IFMT {
            case S_IFREG: self = .file
            case S_IFDIR: self = .directory
            case S_IFLNK: self = .other("a symbolic link")
            case S_IFIFO: self = .other("a pipe")
            case S_IFSOCK: self = .other("a socket")
            default: self = .other("a device")
            }
        }
    }

    /// What a path stands for, or what a symbolic link there leads to; nothing if there is nothing.
    static func kind(of path: String, followsLinks: Bool) throws(CopyFailure) -> Kind? {
        var status = stat()
        let code = followsLinks ? stat(path, &status) : lstat(path, &status)
        guard code == 0 else {
            let error = SystemError()
            if error.code == ENOENT { return nil }
            throw .disk(path, error)
        }
        return Kind(mode: status.st_mode)
    }

    /// A directory's names in order, and what cannot be a name on the service.
    struct Listing: Sendable {
        var entries: [(name: FileName, kind: Kind)] = []
        /// Made fit to be shown.
        var unfitNames: [String] = []
    }

    /// Reads a directory.
    static func list(_ path: String) throws(CopyFailure) -> Listing {
        guard let directory = opendir(path) else { throw .disk(path, SystemError()) }
        defer { closedir(directory) }
        var listing = Listing()
        while true {
            errno = 0
            guard let entry = readdir(directory) else { break }
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if bytes == Array(".".utf8) || bytes == Array("..".utf8) { continue }
            guard let name = FileName(bytes: bytes) else {
                listing.unfitNames.append(Printable.text(String(decoding: bytes, as: UTF8.self)))
                continue
            }
            var status = stat()
            guard fstatat(dirfd(directory), name.string, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                // Gone since.
                if errno == ENOENT { continue }
                throw .disk("\(path)/\(name)", SystemError())
            }
            listing.entries.append((name, Kind(mode: status.st_mode)))
        }
        guard errno == 0 else { throw .disk(path, SystemError()) }
        listing.entries.sort { $0.name < $1.name }
        return listing
    }

    /// The size in bytes of what a file would be copied over; nothing if that is no file.
    ///
    /// - Throws: If it is a directory, of which no file is made.
    static func fileSize(of path: String) throws(CopyFailure) -> UInt64? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        switch Kind(mode: status.st_mode) {
        case .file: return UInt64(status.st_size)
        case .directory: throw .refused("\(Printable.text(path, limit: 400)) is a directory")
        case .other: return nil
        }
    }

    /// Makes a directory; that there is one already is no failure.
    static func makeDirectory(_ path: String) throws(CopyFailure) {
        guard mkdir(path, 0o777) != 0 else { return }
        let error = SystemError()
        guard error.code == EEXIST else { throw .disk(path, error) }
        // Not through a symbolic link: what is copied stays below where it is copied to.
        guard try self.kind(of: path, followsLinks: false) == .directory else {
            throw .refused("\(Printable.text(path)) is there and no directory")
        }
    }
}
