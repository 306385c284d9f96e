import Glibc
import RemoteAPI
import Synchronization
import Transfers
import Transport
import WireFormat

/// A local file that is being read.
final class LocalSourceFile: Sendable {
    /// What tells that the file is the same, as far as the kernel knows.
    private struct Version: Equatable {
        let size: Int
        let seconds: [Int]
        let inode: UInt64

        init(_ status: stat) {
            self.size = Int(status.st_size)
            self.seconds = [
                status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
            ]
            self.inode = UInt64(status.st_ino)
        }
    }

    private let path: String
    private let descriptor: Int32
    private let version: Version

    /// Opens it.
    init(_ path: String) throws(CopyFailure) {
        // Not waiting for a pipe's other side, should one have come in its place.
        self.descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        self.path = path
        var status = stat()
        guard self.descriptor >= 0, fstat(self.descriptor, &status) == 0 else {
            self.version = Version(status)
            throw .disk(path, SystemError())
        }
        self.version = Version(status)
        guard status.st_mode & S_IFMT == S_IFREG else { throw .changed }
        // As files in /proc are, which have bytes all the same.
        var byte: UInt8 = 0
        guard status.st_size > 0 || pread(self.descriptor, &byte, 1, 0) == 0 else {
            throw .refused("its size is not known beforehand")
        }
    }

    deinit { if self.descriptor >= 0 { close(self.descriptor) } }

    /// Its size in bytes.
    var size: UInt64 { UInt64(self.version.size) }

    /// Whether it is as it was when it was opened.
    var isUnchanged: Bool {
        var status = stat()
        return fstat(self.descriptor, &status) == 0 && Version(status) == self.version
    }

    /// Reads bytes; nothing if there are none, or they cannot be read.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard let start = buffer.baseAddress, buffer.count > 0 else { return nil }
        while true {
            let count = pread(self.descriptor, start, buffer.count, Int(offset))
            if count < 0 && errno == EINTR { continue }
            return count > 0 ? count : nil
        }
    }
}

/// What the upload of a local file asks for.
struct LocalUploadSource: UploadSource {
    typealias Failure = CopyFailure

    let file: LocalSourceFile
    let progress: CopyProgress

    func didBegin(_ upload: EarlierUpload) {}

    func willBeginAnew() {}

    func didAbandon(_ beginning: Task<UploadID?, Never>) {}

    func body(of range: Range<UInt64>) throws(CopyFailure) -> any BodyReader {
        Body(file: self.file, range: range, progress: self.progress)
    }

    func wasSent(_ part: Int, of upload: UploadID) -> Bool { false }

    func didSend(_ part: Int, of upload: UploadID) {}

    func willComplete(_ upload: UploadID) throws(CopyFailure) {
        guard self.file.isUnchanged else { throw .changed }
    }

    /// A part, read while it is sent.
    private final class Body: BodyReader {
        private let file: LocalSourceFile
        private let range: Range<UInt64>
        private let progress: CopyProgress
        /// How far it came at best: what is sent again does not count again.
        private let furthest = Mutex<UInt64>(0)

        init(file: LocalSourceFile, range: Range<UInt64>, progress: CopyProgress) {
            self.file = file
            self.range = range
            self.progress = progress
        }

        var count: UInt64 { UInt64(self.range.count) }

        func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
            let wanted = min(UInt64(buffer.count), self.count - min(offset, self.count))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(wanted)])
            guard let count = self.file.read(at: self.range.lowerBound + offset, into: part) else {
                return nil
            }
            let end = offset + UInt64(count)
            let more = self.furthest.withLock { furthest in
                defer { furthest = max(furthest, end) }
                return end > furthest ? end - furthest : 0
            }
            self.progress.add(bytes: more)
            return count
        }
    }
}
