import CLinux
import Glibc

/// An open file or directory, closed when the last reference to it goes.
final class Descriptor: Sendable {
    /// The descriptor's number, valid as long as this lives.
    let number: Int32

    private init(number: Int32) {
        self.number = number
    }

    deinit {
        // A close that fails has closed the descriptor all the same (close(2)), and nobody is left to tell.
        _ = close(self.number)
    }

    /// Opens a path below a directory; never outside it, and never through a symbolic link.
    ///
    /// - Parameters:
    ///   - path: Relative to `directory`; "." is the directory itself.
    ///   - directory: Where the path starts.
    ///   - flags: As open(2) takes them; O_CLOEXEC is added.
    ///   - mode: Of a file that O_CREAT makes.
    /// - Returns: What was opened.
    /// - Throws: What openat2(2) says.
    static func open(
        _ path: String,
        below directory: Descriptor,
        flags: Int32,
        mode: mode_t = 0
    ) throws(FolderError) -> Descriptor {
        let resolve = csystem_resolve_beneath()
        let number = csystem_openat2(
            directory.number,
            path,
            UInt64(UInt32(bitPattern: flags)),
            UInt64(mode),
            resolve
        )
        guard number >= 0 else { throw FolderError(call: "openat2", errno: errno) }
        return Descriptor(number: number)
    }

    /// Opens a directory by any path: the operator's own words on the command line.
    static func openDirectory(_ path: String) throws(FolderError) -> Descriptor {
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw FolderError(call: "open", errno: errno) }
        return Descriptor(number: number)
    }

    /// Opens a file for appending, by any path, making it (mode 0600) where there is none.
    static func openLog(_ path: String) throws(FolderError) -> Descriptor {
        let number = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw FolderError(call: "open", errno: errno) }
        return Descriptor(number: number)
    }

    /// Standard error, under a number of its own: it may be a socket, which cannot be opened by path.
    static func standardError() throws(FolderError) -> Descriptor {
        let number = dup(STDERR_FILENO)
        guard number >= 0 else { throw FolderError(call: "dup", errno: errno) }
        return Descriptor(number: number)
    }

    /// What fstat(2) says.
    func status() throws(FolderError) -> stat {
        var status = stat()
        guard fstat(self.number, &status) == 0 else { throw FolderError(call: "fstat", errno: errno) }
        return status
    }

    /// What lstat(2) says of a name in this directory.
    func status(of name: String) throws(FolderError) -> stat {
        var status = stat()
        guard fstatat(self.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw FolderError(call: "fstatat", errno: errno)
        }
        return status
    }

    /// Reads at an offset until the buffer is full or the file ends.
    ///
    /// - Returns: The number of bytes read, less than the buffer holds only at the file's end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FolderError) -> Int {
        var count = 0
        while count < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
            let got = pread(self.number, rest.baseAddress, rest.count, off_t(offset) + off_t(count))
            if got > 0 {
                count += got
            } else if got == 0 {
                break
            } else if errno != EINTR {
                throw FolderError(call: "pread", errno: errno)
            }
        }
        return count
    }

    /// Which parts of some ranges nothing was ever written to, or are beyond the end; lseek(2), SEEK_HOLE.
    ///
    /// - Parameter ranges: Offsets in bytes, ends exclusive.
    /// - Returns: The same; none where the file system cannot tell.
    /// - Throws: What fstat(2) says.
    func holes(in ranges: [Range<UInt64>]) throws(FolderError) -> [Range<UInt64>] {
        let end = UInt64(try self.status().st_size)
        var holes: [Range<UInt64>] = []
        for range in ranges {
            var start = range.lowerBound
            while start < min(range.upperBound, end) {
                let hole = csystem_seek_hole(self.number, Int64(start))
                guard hole >= 0, hole < min(range.upperBound, end) else { break }
                let data = csystem_seek_data(self.number, hole)
                let next = data < 0 ? end : UInt64(data)
                holes.append(UInt64(hole)..<min(next, range.upperBound))
                start = next
            }
            if range.upperBound > end { holes.append(max(range.lowerBound, end)..<range.upperBound) }
        }
        return holes
    }

    /// Writes all the bytes at an offset.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FolderError) {
        var count = 0
        while count < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[count...])
            let put = pwrite(self.number, rest.baseAddress, rest.count, off_t(offset) + off_t(count))
            if put >= 0 {
                count += put
            } else if errno != EINTR {
                throw FolderError(call: "pwrite", errno: errno)
            }
        }
    }

    /// Writes the text in one write(2), so that with O_APPEND lines of several threads do not mix.
    func append(_ text: String) throws(FolderError) {
        var text = text
        let (written, code) = text.withUTF8 { bytes in
            let count = Glibc.write(self.number, bytes.baseAddress, bytes.count)
            return (count == bytes.count, errno)
        }
        // A short write of so few bytes happens only on a full disk.
        guard written else { throw FolderError(call: "write", errno: code == 0 ? ENOSPC : code) }
    }

    /// Waits until what was written is on the disk.
    func synchronize() throws(FolderError) {
        guard fsync(self.number) == 0 else { throw FolderError(call: "fsync", errno: errno) }
    }

    /// The names in this directory, without `.` and `..`, each with its DT_* kind, in no order.
    func entries() throws(FolderError) -> [(name: [UInt8], kind: UInt8)] {
        // fdopendir takes the descriptor it is given, so it gets one of its own.
        let own = csystem_openat2(
            self.number,
            ".",
            UInt64(O_RDONLY | O_DIRECTORY),
            0,
            csystem_resolve_beneath()
        )
        guard own >= 0 else { throw FolderError(call: "openat2", errno: errno) }
        guard let stream = fdopendir(own) else {
            let code = errno
            _ = close(own)
            throw FolderError(call: "fdopendir", errno: code)
        }
        defer { _ = closedir(stream) }
        var entries: [(name: [UInt8], kind: UInt8)] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: UInt8.self, capacity: 256) { start in
                    Array(
                        UnsafeBufferPointer(
                            start: start,
                            count: strlen(UnsafePointer<CChar>(OpaquePointer(start)))
                        )
                    )
                }
            }
            if name == [UInt8(ascii: ".")] || name == [UInt8(ascii: "."), UInt8(ascii: ".")] { continue }
            var kind = entry.pointee.d_type
            if kind == UInt8(DT_UNKNOWN) {
                // Some file systems do not say; a name that is gone by now is not listed.
                var status = stat()
                guard
                    fstatat(own, name.map { CChar(bitPattern: $0) } + [0], &status, AT_SYMLINK_NOFOLLOW) == 0
                else { continue }
                kind = UInt8((status.st_mode & S_IFMT) >> 12)
            }
            entries.append((name, kind))
        }
        guard errno == 0 else { throw FolderError(call: "readdir", errno: errno) }
        return entries
    }
}

extension stat {
    /// Whether it is a directory.
    var isDirectory: Bool { self.st_mode & S_IFMT == S_IFDIR }
    /// Whether it is a regular file.
    var isFile: Bool { self.st_mode & S_IFMT == S_IFREG }
}
