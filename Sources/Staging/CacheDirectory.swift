import Glibc
import SystemPackage
import WireFormat

/// Why a cache directory cannot be used: one line for the person who mounts.
public struct CacheDirectoryError: Error, CustomStringConvertible {
    /// What is wrong and what to do.
    public let description: String
}

/// What one filesystem keeps on the local disk: `CACHE/FILESYSTEM-ID/`, used by one process at a time.
public final class CacheDirectory: Sendable {
    /// The directory.
    public let path: FilePath
    private let lock: FileDescriptor

    /// Names the layout of the directory; raised when it changes.
    private static let format = "tetherfs cache 1\n"

    /// Opens the directory, making it if need be.
    ///
    /// - Parameters:
    ///   - parent: The directory of all filesystems' caches.
    ///   - filesystem: Which one's.
    /// - Throws: If another mount uses it, another version or program made it, or it cannot be written.
    public init(in parent: FilePath, for filesystem: FilesystemID) throws(CacheDirectoryError) {
        self.path = parent.appending(filesystem.rawValue)
        try Self.make(self.path)
        self.lock = try Self.lock(self.path)
        try Self.checkFormat(self.path)
    }

    deinit {
        try? self.lock.close()
    }

    /// Whether a mount has a directory, of those that it may be the cache of.
    static func isInUse(_ directory: FilePath) -> Bool {
        guard
            let lock = try? FileDescriptor.open(
                directory.appending("lock"),
                .readOnly,
                options: .closeOnExec
            )
        else { return false }
        defer { try? lock.close() }
        return flock(lock.rawValue, LOCK_SH | LOCK_NB) != 0
    }

    /// The directories in a directory of all filesystems' caches, in order, with the filesystems' ids.
    ///
    /// - Throws: If it is there and cannot be read.
    public static func all(in parent: FilePath) throws(CacheDirectoryError) -> [(FilesystemID, FilePath)] {
        guard access(parent.string, R_OK | X_OK) == 0 || errno == ENOENT else {
            throw CacheDirectoryError(
                description: "cannot read the cache directory \(parent): \(Errno(rawValue: errno))"
            )
        }
        return Self.names(in: parent).sorted().compactMap { name in
            let path = parent.appending(name)
            guard let id = FilesystemID(name), (try? Self.checkFormat(path, makes: false)) != nil else {
                return nil
            }
            return (id, path)
        }
    }

    /// Makes a directory in it.
    func makeSubdirectory(_ name: String) throws(CacheDirectoryError) -> FilePath {
        let path = self.path.appending(name)
        try Self.make(path)
        return path
    }

    /// The names in a directory; none if it cannot be read.
    static func names(in directory: FilePath) -> [String] {
        guard let stream = opendir(directory.string) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// A file's length in bytes; nothing if it is not there.
    static func length(of path: FilePath) -> UInt64? {
        var status = stat()
        return stat(path.string, &status) == 0 ? UInt64(status.st_size) : nil
    }

    private static func make(_ path: FilePath) throws(CacheDirectoryError) {
        var made = FilePath(root: path.root, [])
        for component in path.components {
            made.append(component)
            if mkdir(made.string, 0o700) != 0 && errno != EEXIST {
                throw CacheDirectoryError(
                    description: "cannot make the cache directory \(path): \(Errno(rawValue: errno)); "
                        + "choose another one with --cache-dir"
                )
            }
        }
    }

    private static func lock(_ directory: FilePath) throws(CacheDirectoryError) -> FileDescriptor {
        let descriptor: FileDescriptor
        do {
            descriptor = try FileDescriptor.open(
                directory.appending("lock"),
                .readWrite,
                options: [.create, .closeOnExec],
                permissions: [.ownerReadWrite]
            )
        } catch {
            throw CacheDirectoryError(
                description: "cannot use the cache directory \(directory): \(error); "
                    + "choose another one with --cache-dir"
            )
        }
        var attempts = 1
        // `tetherfs recover` may be looking whether somebody has it.
        while flock(descriptor.rawValue, LOCK_EX | LOCK_NB) != 0 {
            if attempts < 10 {
                attempts += 1
                usleep(30_000)
                continue
            }
            try? descriptor.close()
            throw CacheDirectoryError(
                description: "another mount of this filesystem uses the cache directory "
                    + "\(directory.removingLastComponent()); choose another one with --cache-dir"
            )
        }
        return descriptor
    }

    /// Checks that a directory is one of ours and of this version; an empty one becomes one if `makes` says so.
    private static func checkFormat(
        _ directory: FilePath,
        makes: Bool = true
    ) throws(CacheDirectoryError) {
        let path = directory.appending("FORMAT")
        if let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) {
            defer { try? file.close() }
            var found = [UInt8](repeating: 0, count: 256)
            let count = (try? found.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
            // As a power failure left it when it was new: with nothing in it but what is ours.
            if count == 0, makes, Self.names(in: directory).allSatisfy(Self.isOurs) {
                return try self.writeFormat(in: directory)
            }
            guard found.prefix(count).elementsEqual(Self.format.utf8) else {
                throw CacheDirectoryError(
                    description: "the cache directory \(directory) is of another version of tetherfs; choose "
                        + "another one with --cache-dir, or save what its 'recovered' holds and remove it"
                )
            }
            return
        }
        guard makes, Self.names(in: directory).allSatisfy({ $0 == "lock" }) else {
            throw CacheDirectoryError(
                description: "\(directory) is not a cache directory of tetherfs; "
                    + "choose another one with --cache-dir"
            )
        }
        try self.writeFormat(in: directory)
    }

    private static func isOurs(_ name: String) -> Bool {
        ["lock", "FORMAT", "staging", "recovered", "blocks"].contains(name)
            || name.hasPrefix("journal.sqlite")
    }

    private static func sync(_ directory: FilePath) throws {
        let opened = try FileDescriptor.open(directory, .readOnly, options: [.directory, .closeOnExec])
        try opened.closeAfter {
            guard fsync(opened.rawValue) == 0 else { throw Errno(rawValue: errno) }
        }
    }

    /// Makes a directory one of ours, for good: else a power failure would take what is promised in it.
    private static func writeFormat(in directory: FilePath) throws(CacheDirectoryError) {
        do {
            let file = try FileDescriptor.open(
                directory.appending("FORMAT"),
                .writeOnly,
                options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite]
            )
            try file.closeAfter {
                _ = try file.writeAll(Self.format.utf8)
                guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
            }
            // Also its name, and that of the directory that was made for it.
            try Self.sync(directory)
            try Self.sync(directory.removingLastComponent())
            // What is above that may be another's, and not be read: if it was made here, it can be.
            try? Self.sync(directory.removingLastComponent().removingLastComponent())
        } catch {
            throw CacheDirectoryError(
                description: "cannot write to the cache directory \(directory): \(error); "
                    + "choose another one with --cache-dir"
            )
        }
    }
}
