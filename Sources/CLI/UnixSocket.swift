import Glibc

/// A stream socket of the unix family.
enum UnixSocket {
    /// Makes a socket.
    static func make() throws(SystemError) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError() }
        return descriptor
    }

    /// Connects a new socket.
    static func connect(to path: String) throws(SystemError) -> Int32 {
        let descriptor = try self.make()
        guard self.withAddress(path, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            let error = SystemError()
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Gives a socket its name in the file system.
    static func bind(_ descriptor: Int32, to path: String) throws(SystemError) {
        guard self.withAddress(path, { Glibc.bind(descriptor, $0, $1) }) == 0 else { throw SystemError() }
    }

    /// Makes a socket that listens, for its owner and root alone; one that a process left which is gone is replaced.
    ///
    /// - Throws: `EADDRINUSE` if somebody answers there.
    static func listen(at path: String) throws(SystemError) -> Int32 {
        let descriptor = try self.make()
        do throws(SystemError) {
            // Before it has a name: then there is no moment at which others may use it.
            fchmod(descriptor, 0o600)
            do throws(SystemError) {
                try self.bind(descriptor, to: path)
            } catch {
                // A name outlives its process; whether somebody listens shows only when one knocks.
                guard error.code == EADDRINUSE, self.isAbandoned(path) else { throw error }
                unlink(path)
                try self.bind(descriptor, to: path)
            }
            guard Glibc.listen(descriptor, 8) == 0 else { throw SystemError() }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func isAbandoned(_ path: String) -> Bool {
        // Whatever else is there refuses connections too, and is somebody's file.
        guard FileStatus(of: path)?.isSocket == true else { return false }
        do {
            close(try self.connect(to: path))
            return false
        } catch {
            return error.code == ECONNREFUSED
        }
    }

    /// The user at the other end, as of its connecting or listening. Nothing if the kernel does not say.
    static func peerUserID(_ descriptor: Int32) -> UInt32? {
        // `struct ucred` of unix(7): pid, uid, gid.
        var credentials: (Int32, UInt32, UInt32) = (0, .max, .max)
        var length = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        return credentials.1
    }

    /// Sends all of it or fails; a peer that is gone is an error here and not a signal.
    ///
    /// - Parameters:
    ///   - bytes: What to send.
    ///   - descriptor: The socket.
    ///   - isPatient: Whether to wait for a peer that does not read.
    /// - Returns: Whether all was sent. A line that was cut leaves the connection unusable.
    static func send(_ bytes: [UInt8], to descriptor: Int32, isPatient: Bool = true) -> Bool {
        var sent = 0
        let flags = Int32(MSG_NOSIGNAL) | (isPatient ? 0 : Int32(MSG_DONTWAIT))
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(descriptor, buffer.baseAddress.map { $0 + sent }, bytes.count - sent, flags)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// How long one send may wait for a peer that does not read.
    static func limitSending(_ descriptor: Int32, seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Sends one datagram, without waiting for a receiver that is busy.
    ///
    /// - Parameters:
    ///   - bytes: What to send.
    ///   - address: The receiver's: a path, or a name that begins with NUL.
    /// - Returns: Whether it was sent.
    @discardableResult
    static func sendDatagram(_ bytes: [UInt8], to address: [UInt8]) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return self.withAddress(address) {
            Int32(sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0, $1))
        } == bytes.count
    }

    private static func withAddress(
        _ path: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        self.withAddress(Array(path.utf8), body)
    }

    private static func withAddress(
        _ bytes: [UInt8],
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard bytes.count <= ControlAddress.maximumByteCount else {
            errno = ENAMETOOLONG
            return -1
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                // An abstract name has no end but this one.
                body($0, socklen_t(MemoryLayout<sa_family_t>.size + bytes.count))
            }
        }
    }
}

/// Takes lines off a socket, of bounded length.
struct LineReader {
    private let descriptor: Int32
    private var bytes: [UInt8] = []

    /// Takes the socket, which stays the caller's.
    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// What came.
    enum Outcome: Equatable {
        /// A line, without its end.
        case line([UInt8])
        /// The other side is gone, or sent a line beyond all measure.
        case ended
        /// Nothing for so long.
        case silent
    }

    /// Waits for the next line.
    ///
    /// - Parameter milliseconds: How long without a byte; -1 for ever.
    /// - Returns: The line, or why there is none.
    mutating func next(milliseconds: Int32) -> Outcome {
        while true {
            if let end = self.bytes.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(self.bytes[..<end])
                self.bytes.removeFirst(end + 1)
                return .line(line)
            }
            guard self.bytes.count < ControlLine.maximumByteCount else { return .ended }
            guard Descriptor.waitUntilReadable(self.descriptor, milliseconds: milliseconds) else {
                return .silent
            }
            guard let more = try? Descriptor.read(self.descriptor, limit: 4096), !more.isEmpty else {
                return .ended
            }
            self.bytes += more
        }
    }
}
