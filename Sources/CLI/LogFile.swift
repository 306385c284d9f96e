import Glibc
import Synchronization

/// The file that a driver logs to where that is not the journal. It has a limit, as its disk also has what is not uploaded
/// yet: past that the file goes on as `.1`, in place of the last `.1`.
final class LogFile: Sendable {
    private let path: String
    private let descriptor: Int32
    private let limit: Int
    private let turn = Mutex(())

    /// Opens one to append to, mode 0600; one that is full goes on as `.1`.
    static func open(_ path: String, limit: Int = LogFile.standardLimit) throws(SystemError) -> Int32 {
        var status = stat()
        if lstat(path, &status) == 0, status.st_size > limit { rename(path, path + ".1") }
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SystemError() }
        return descriptor
    }

    /// In bytes.
    static let standardLimit = 10 << 20

    /// Takes one that is open.
    ///
    /// - Parameters:
    ///   - path: Its path.
    ///   - descriptor: Where it is open, which stands for the next file in its turn.
    ///   - limit: How many bytes there may be before it goes on as `.1`.
    init(_ path: String, descriptor: Int32 = STDERR_FILENO, limit: Int = LogFile.standardLimit) {
        self.path = path
        self.descriptor = descriptor
        self.limit = limit
    }

    /// Writes a line, with its end.
    @Sendable func write(_ line: String) {
        self.turn.withLock { _ in
            Descriptor.write(line, to: self.descriptor)
            var status = stat()
            guard fstat(self.descriptor, &status) == 0, status.st_size > self.limit,
                let next = try? Self.open(self.path, limit: self.limit)
            else { return }
            dup2(next, self.descriptor)
            close(next)
        }
    }
}
