import Glibc
import SystemPackage

extension RecoverableFile {
    /// Where the bytes come from that are not here.
    public enum Missing: Sendable {
        /// There must be none missing.
        case refused
        /// From a copy of what the service has.
        case from(FilePath)
        /// From nowhere: they are zeros.
        case zeros
    }

    /// Why a file was not restored.
    public enum RestoreError: Error, Sendable {
        /// Only parts of it are here.
        case isPartial
        /// It is not known whether all of it is here.
        case isUnknown
        /// The copy of what the service has is of another size, in bytes.
        case otherBase(size: UInt64, expected: UInt64)
        /// Something failed with this file.
        case failed(FilePath, Errno)
    }

    /// Writes the content to a new file and syncs it; where that fails no file is left.
    ///
    /// - Parameters:
    ///   - target: The file, which must not be there.
    ///   - missing: Where the bytes come from that are not here.
    /// - Throws: Why it was not restored.
    public func restore(to target: FilePath, _ missing: Missing) throws(RestoreError) {
        if case .refused = missing, !self.isWhole {
            throw self.isKnown ? RestoreError.isPartial : RestoreError.isUnknown
        }
        let source = try Self.open(self.file)
        defer { try? source.close() }
        var base: FileDescriptor?
        if case .from(let path) = missing { base = try self.openBase(path) }
        defer { try? base?.close() }
        let made: FileDescriptor
        do {
            made = try FileDescriptor.open(
                target,
                .writeOnly,
                options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead]
            )
        } catch {
            throw .failed(target, error as? Errno ?? .ioError)
        }
        defer { try? made.close() }
        do throws(RestoreError) {
            try self.copy(source, base: base, to: made, target)
        } catch {
            unlink(target.string)
            throw error
        }
    }

    private func copy(
        _ source: FileDescriptor,
        base: FileDescriptor?,
        to made: FileDescriptor,
        _ target: FilePath
    ) throws(RestoreError) {
        guard ftruncate(made.rawValue, off_t(self.content.size)) == 0 else {
            throw .failed(target, Errno(rawValue: errno))
        }
        var here = ExtentMap()
        here.insert(0..<self.content.size)
        for (range, isHere) in (self.content.extents ?? here).pieces(of: 0..<self.content.size) {
            if isHere {
                try self.copy(range, of: source, self.file, to: made, target)
            } else if let base {
                try self.copy(range, of: base, target, to: made, target)
            }
        }
        guard fsync(made.rawValue) == 0 else { throw .failed(target, Errno(rawValue: errno)) }
    }

    /// SEEK_DATA of Linux, which the C library shows only to GNU sources.
    private static let seekData: Int32 = 3

    /// Copies what is no hole.
    private func copy(
        _ range: Range<UInt64>,
        of source: FileDescriptor,
        _ path: FilePath,
        to made: FileDescriptor,
        _ target: FilePath
    ) throws(RestoreError) {
        var offset = off_t(range.lowerBound)
        let end = off_t(range.upperBound)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        while offset < end {
            let data = lseek(source.rawValue, offset, Self.seekData)
            if data < 0 && errno == ENXIO { return }
            if data >= end { return }
            offset = max(offset, data)
            let count = pread(
                source.rawValue,
                buffer.baseAddress,
                min(buffer.count, Int(end - offset)),
                offset
            )
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .failed(path, count < 0 ? Errno(rawValue: errno) : .ioError) }
            var done = 0
            while done < count {
                let written = pwrite(
                    made.rawValue,
                    UnsafeRawBufferPointer(rebasing: buffer[done..<count]).baseAddress,
                    count - done,
                    offset + off_t(done)
                )
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else {
                    throw .failed(target, written < 0 ? Errno(rawValue: errno) : .ioError)
                }
                done += written
            }
            offset += off_t(count)
        }
    }

    private func openBase(_ path: FilePath) throws(RestoreError) -> FileDescriptor {
        let file = try Self.open(path)
        var status = stat()
        let size = fstat(file.rawValue, &status) == 0 ? UInt64(status.st_size) : 0
        // What is missing lies within the base.
        let needed = self.content.extents?.pieces(of: 0..<self.content.size).last { !$0.isHere }?.range
            .upperBound
        let expected = self.baseSize ?? max(size, needed ?? 0)
        guard size == expected else {
            try? file.close()
            throw .otherBase(size: size, expected: expected)
        }
        return file
    }

    private static func open(_ path: FilePath) throws(RestoreError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
        } catch {
            throw .failed(path, error as? Errno ?? .ioError)
        }
    }
}
