import Glibc
import SystemPackage

/// Why the cache does not work: a line for the log.
struct DiskCacheError: Error, CustomStringConvertible {
    let description: String
}

/// The directory of the cache, with a mark that says whose blocks it has.
///
///     FORMAT              the version of the layout, the length of a segment, the filesystem
///     catalogue.sqlite    which block is where, and SQLite's own files beside it
///     segments/           8 hexadecimal digits each: blocks, one after the other
struct BlockDirectory: Sendable {
    let path: FilePath

    var catalogue: FilePath { self.path.appending("catalogue.sqlite") }
    var segments: FilePath { self.path.appending("segments") }

    /// Names the layout; raised when it changes.
    private static let format = "tetherfs blocks 1\n"
    private static let formatPrefix = "tetherfs blocks "

    /// Opens the directory, making it if need be; what it has of another filesystem or version is begun anew.
    ///
    /// - Parameters:
    ///   - path: The directory; the one above it exists.
    ///   - identity: Names the filesystem.
    ///   - segmentByteCount: The length of a segment.
    /// - Throws: If it is somebody else's, or cannot be written.
    init(_ path: FilePath, identity: String, segmentByteCount: Int) throws(DiskCacheError) {
        self.path = path
        if mkdir(path.string, 0o700) != 0 && errno != EEXIST { throw self.error("cannot make it") }
        let mark = Self.format + "segments of \(segmentByteCount) bytes\n" + identity + "\n"
        let found = try self.readMark()
        if found == nil || found?.hasPrefix(Self.formatPrefix) != true {
            guard try self.names().isSubset(of: ["FORMAT.new"]) else {
                throw DiskCacheError(description: "\(path) is not a directory of cached blocks")
            }
        } else if found != mark {
            try self.removeCatalogue()
        }
        if found != mark { try self.writeMark(mark) }
        if mkdir(self.segments.string, 0o700) != 0 && errno != EEXIST { throw self.error("cannot make it") }
        guard access(self.segments.string, W_OK) == 0 else { throw self.error("cannot write to it") }
    }

    /// Sees to it that a cache which does not work now serves nothing later, if the directory is one of ours.
    ///
    /// - Throws: If it cannot be done, and a later mount might serve what is outdated by then.
    static func discard(_ path: FilePath) throws(DiskCacheError) {
        let directory = BlockDirectory(path: path)
        guard access(path.string, F_OK) == 0, try directory.readMark()?.hasPrefix(Self.formatPrefix) == true
        else { return }
        try directory.removeCatalogue()
        SegmentFiles(in: directory.segments).removeAll { _ in false }
    }

    private init(path: FilePath) { self.path = path }

    /// Takes the catalogue away, durably: without it no block is ever served again.
    func removeCatalogue() throws(DiskCacheError) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            if unlink(self.catalogue.string + suffix) != 0 && errno != ENOENT {
                throw self.error("cannot remove its catalogue")
            }
        }
        try self.sync()
    }

    /// The length in bytes of the catalogue with the files that SQLite has beside it.
    var catalogueByteCount: UInt64 {
        ["", "-wal", "-shm"].reduce(0) { sum, suffix in
            var status = stat()
            return stat(self.catalogue.string + suffix, &status) == 0 ? sum + UInt64(status.st_size) : sum
        }
    }

    private func readMark() throws(DiskCacheError) -> String? {
        do {
            let file = try FileDescriptor.open(
                self.path.appending("FORMAT"),
                .readOnly,
                options: .closeOnExec
            )
            return try file.closeAfter {
                // Longer than any mark of ours: an identity is a URL and an id.
                let found = try [UInt8](unsafeUninitializedCapacity: 8192) { buffer, count in
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
                return String(decoding: found, as: UTF8.self)
            }
        } catch Errno.noSuchFileOrDirectory {
            return nil
        } catch {
            throw DiskCacheError(description: "cannot read \(self.path): \(error)")
        }
    }

    private func writeMark(_ mark: String) throws(DiskCacheError) {
        let new = self.path.appending("FORMAT.new")
        do {
            let file = try FileDescriptor.open(
                new,
                .writeOnly,
                options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite]
            )
            try file.closeAfter {
                _ = try file.writeAll(mark.utf8)
                guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
            }
        } catch {
            throw DiskCacheError(description: "cannot write to \(self.path): \(error)")
        }
        guard rename(new.string, self.path.appending("FORMAT").string) == 0 else {
            throw self.error("cannot write to it")
        }
        try self.sync()
    }

    private func names() throws(DiskCacheError) -> Set<String> {
        guard let stream = opendir(self.path.string) else { throw self.error("cannot list it") }
        defer { closedir(stream) }
        var names: Set<String> = []
        while let entry = readdir(stream) {
            names.insert(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
            )
        }
        return names.subtracting([".", ".."])
    }

    private func sync() throws(DiskCacheError) {
        let descriptor = Glibc.open(self.path.string, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw self.error("cannot open it") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw self.error("cannot make it durable") }
    }

    private func error(_ what: String) -> DiskCacheError {
        DiskCacheError(description: "\(self.path): \(what): \(Errno(rawValue: errno))")
    }
}
