import CLinux
import Glibc
import Primitives
import Synchronization
import SystemPackage

/// An open segment; closed when nobody uses it any more.
///
/// Whole pages go past the kernel's page cache where the filesystem can do that (open(2), O_DIRECT): the copy into it costs
/// as much as all else that is done for a block, and the kernel has the same bytes as pages of the mount already.
final class SegmentFile: Sendable {
    let descriptor: FileDescriptor
    private let direct: FileDescriptor?

    init(_ descriptor: FileDescriptor, direct: FileDescriptor?) {
        self.descriptor = descriptor
        self.direct = direct
    }

    deinit {
        try? self.descriptor.close()
        try? self.direct?.close()
    }

    /// Reads or writes, past the page cache if that can be.
    private func transfer(
        _ buffers: [ByteBuffer],
        at offset: Int,
        _ call: (Int32) -> Int
    ) throws(Errno) -> Int {
        if let direct = self.direct, offset.alignedForBlock == offset,
            buffers.allSatisfy({ $0.count.alignedForBlock == $0.count })
        {
            let count = call(direct.rawValue)
            // Some filesystems take the flag and then nothing that is asked with it.
            if count >= 0 || errno != EINVAL { return try Self.check(count) }
        }
        return try Self.check(call(self.descriptor.rawValue))
    }

    /// Fills buffers with what follows an offset.
    ///
    /// - Returns: The number of bytes that were there.
    func read(into buffers: [ByteBuffer], at offset: Int) throws(Errno) -> Int {
        let vectors = buffers.map { buffer in
            iovec(iov_base: buffer.uninitialized.baseAddress, iov_len: buffer.count)
        }
        // Else they may end before the call does, which knows their addresses alone.
        return try withExtendedLifetime(buffers) { () throws(Errno) in
            try self.transfer(buffers, at: offset) {
                preadv($0, vectors, Int32(vectors.count), off_t(offset))
            }
        }
    }

    /// Writes buffers one after the other, each at a place where a block can begin.
    func write(_ buffers: [ByteBuffer], at offset: Int) throws(Errno) {
        var vectors: [iovec] = []
        var expected = 0
        for buffer in buffers {
            vectors.append(iovec(iov_base: .init(mutating: buffer.bytes.baseAddress), iov_len: buffer.count))
            let padding = buffer.count.alignedForBlock - buffer.count
            if padding > 0 {
                vectors.append(
                    iovec(iov_base: .init(mutating: Self.zeros.bytes.baseAddress), iov_len: padding)
                )
            }
            expected += buffer.count.alignedForBlock
        }
        let count = try withExtendedLifetime(buffers) { () throws(Errno) in
            try self.transfer(buffers, at: offset) {
                pwritev($0, vectors, Int32(vectors.count), off_t(offset))
            }
        }
        // A file that takes only a part is on a disk with no room for the rest.
        guard count == expected else { throw .noSpace }
    }

    /// The length in bytes.
    func byteCount() throws(Errno) -> Int {
        var status = stat()
        try Self.check(Int(fstat(self.descriptor.rawValue, &status)))
        return Int(status.st_size)
    }

    /// Whether it is no longer in its directory.
    var isRemoved: Bool {
        var status = stat()
        return fstat(self.descriptor.rawValue, &status) == 0 && status.st_nlink == 0
    }

    private static let zeros: ByteBuffer = {
        let buffer = ByteBuffer(count: DiskBlocks.alignment)
        buffer.uninitialized.initializeMemory(as: UInt8.self, repeating: 0)
        return buffer
    }()

    @discardableResult
    private static func check(_ result: Int) throws(Errno) -> Int {
        guard result >= 0 else { throw Errno(rawValue: errno) }
        return result
    }
}

/// The segments as files, named by their numbers.
final class SegmentFiles: Sendable {
    private let directory: FilePath
    /// Those used last, with the count of uses at their last one.
    private let open = Mutex<(files: [UInt32: (file: SegmentFile, use: Int)], uses: Int)>(([:], 0))

    /// More, two descriptors each, would be in the way of a limit of 1,024.
    private static let maximumOpenCount = 32

    init(in directory: FilePath) { self.directory = directory }

    /// A segment, to be read.
    func file(_ number: UInt32) throws(Errno) -> SegmentFile {
        let known = self.open.withLock { open in
            open.uses += 1
            open.files[number]?.use = open.uses
            return open.files[number]?.file
        }
        if let known { return known }
        let file = try self.open(number, .readOnly, [])
        self.keep(file, number)
        return file
    }

    /// A new segment, to be written and read.
    func create(_ number: UInt32) throws(Errno) -> SegmentFile {
        let file = try self.open(number, .readWrite, [.create, .truncate])
        self.keep(file, number)
        return file
    }

    /// A segment that an earlier mount began, to be written and read.
    func resume(_ number: UInt32) throws(Errno) -> SegmentFile {
        let file = try self.open(number, .readWrite, [])
        self.keep(file, number)
        return file
    }

    /// Takes a segment off the disk; who reads it goes on reading.
    func remove(_ number: UInt32) {
        unlink(self.path(number).string)
        self.open.withLock { _ = $0.files.removeValue(forKey: number) }
    }

    /// Takes off the disk what the catalogue has not: left by a crash, or of a catalogue that is gone.
    func removeAll(except isKnown: (UInt32) -> Bool) {
        guard let stream = opendir(self.directory.string) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let number = UInt32(name, radix: 16), Self.name(number) == name, !isKnown(number) else {
                continue
            }
            unlink(self.path(number).string)
        }
    }

    private func keep(_ file: SegmentFile, _ number: UInt32) {
        self.open.withLock { open in
            open.uses += 1
            open.files[number] = (file, open.uses)
            guard open.files.count > Self.maximumOpenCount else { return }
            if let oldest = open.files.min(by: { $0.value.use < $1.value.use })?.key {
                open.files.removeValue(forKey: oldest)
            }
        }
        // If it was removed since it was opened, nobody else lets go of it and of its place on the disk.
        if file.isRemoved { self.open.withLock { _ = $0.files.removeValue(forKey: number) } }
    }

    private func open(
        _ number: UInt32,
        _ mode: FileDescriptor.AccessMode,
        _ options: FileDescriptor.OpenOptions
    ) throws(Errno) -> SegmentFile {
        do {
            let path = self.path(number)
            let file = try FileDescriptor.open(
                path,
                mode,
                options: options.union(.closeOnExec),
                permissions: [.ownerReadWrite]
            )
            let direct = try? FileDescriptor.open(
                path,
                mode,
                options: [.closeOnExec, .init(rawValue: csystem_open_direct())]
            )
            return SegmentFile(file, direct: direct)
        } catch {
            throw error as? Errno ?? .ioError
        }
    }

    private func path(_ number: UInt32) -> FilePath { self.directory.appending(Self.name(number)) }

    private static func name(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
