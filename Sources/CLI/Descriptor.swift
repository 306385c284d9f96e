import Glibc

/// Reading and writing by descriptor: the `stdout` and `stderr` of C are not for Swift 6.
enum Descriptor {
    /// Writes all of it, or what goes before the first error, which is nobody's to hear about.
    ///
    /// - Returns: Whether all was written.
    @discardableResult
    static func write(_ text: String, to descriptor: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                let count = Glibc.write(
                    descriptor,
                    bytes.baseAddress.map { $0 + written },
                    bytes.count - written
                )
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return false }
                written += count
            }
            return true
        }
    }

    /// Reads once.
    ///
    /// - Returns: At least one byte and at most `limit`; none at the end.
    static func read(_ descriptor: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        while true {
            let count = Glibc.read(descriptor, &buffer, limit)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw SystemError() }
            return Array(buffer.prefix(count))
        }
    }

    /// Reads a small file of the kernel or of ours to its end.
    static func readFile(_ path: String, limit: Int = 64 << 20) throws(SystemError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError() }
        defer { close(descriptor) }
        return try self.readAll(descriptor, limit: limit)
    }

    /// Reads to the end, or until there are `limit` bytes or somewhat more.
    static func readAll(_ descriptor: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit {
            let more = try self.read(descriptor, limit: 64 << 10)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    /// Keeps a descriptor from the programs that this one starts.
    static func closeOnExec(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    /// Waits until a descriptor can be read or the other side is gone.
    ///
    /// - Returns: Whether it is so; `false` after `milliseconds` (-1: no limit) or a signal.
    static func waitUntilReadable(_ descriptor: Int32, milliseconds: Int32) -> Bool {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, milliseconds) > 0
    }
}
