import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why there is no usable key; the text is one line and holds nothing of the key.
public struct CredentialsError: Error, Hashable, CustomStringConvertible {
    /// What is wrong.
    public let description: String
}

/// The API key, from where it is given; it never shows in a description, a mirror or a log.
///
/// A key file is read again when it was changed, and when the server refuses the key.
public final class Credentials: Sendable {
    /// What tells one version of the key file from another.
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int
    }

    private struct State {
        var key: String
        var stamp: Stamp?
    }

    private let path: String?
    private let state: Mutex<State>

    /// Takes a key as it is, such as from the environment; white space around it counts for nothing.
    ///
    /// - Parameter key: The key.
    /// - Throws: If it is empty or not of visible ASCII characters.
    public init(key: String) throws(CredentialsError) {
        self.path = nil
        self.state = Mutex(State(key: try Self.checked(Array(key.utf8), from: "the API key"), stamp: nil))
    }

    /// Reads the key from a file.
    ///
    /// - Parameter path: The file, which holds the key alone.
    /// - Throws: If it cannot be read, can be read by others too, or holds no key.
    public init(file path: String) throws(CredentialsError) {
        let stamp = Self.stamp(path)
        let key = try Self.readKey(path)
        self.path = path
        self.state = Mutex(State(key: key, stamp: stamp))
    }

    /// The key, read again if its file was changed; the last good one if that cannot be read now.
    func key() -> String {
        guard let path = self.path else { return self.state.withLock(\.key) }
        let stamp = Self.stamp(path)
        let (key, known) = self.state.withLock { ($0.key, $0.stamp) }
        guard stamp != nil, stamp != known else { return key }
        return self.readAgain(path, stamp) ?? key
    }

    /// Another key than the one that was refused, if there is one by now.
    func key(insteadOf refused: String) -> String? {
        guard let path = self.path else { return nil }
        let key = self.readAgain(path, Self.stamp(path)) ?? self.state.withLock(\.key)
        return key == refused ? nil : key
    }

    private func readAgain(_ path: String, _ stamp: Stamp?) -> String? {
        guard let key = try? Self.readKey(path) else { return nil }
        self.state.withLock { $0 = State(key: key, stamp: stamp) }
        return key
    }

    /// A key is some tens of bytes: a larger file is another one, given by mistake.
    private static let maximumByteCount = 16 << 10

    private static func readKey(_ path: String) throws(CredentialsError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.unreadable(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.unreadable(path, errno) }
        // A pipe is nobody else's.
        let isExposed = SecretFile.isExposed(
            permissions: status.st_mode,
            owner: status.st_uid,
            reader: geteuid()
        )
        guard status.st_mode & S_IFMT != S_IFREG || !isExposed else {
            throw CredentialsError(
                description: SecretFile.refusal(of: "the API key file \(path)", at: path)
            )
        }
        var bytes = [UInt8](repeating: 0, count: Self.maximumByteCount + 1)
        var count = 0
        while count < bytes.count {
            let room = bytes.count - count
            let got = bytes.withUnsafeMutableBytes { buffer in
                read(descriptor, buffer.baseAddress?.advanced(by: count), room)
            }
            if got < 0, errno == EINTR { continue }
            if got < 0 { throw Self.unreadable(path, errno) }
            if got == 0 { break }
            count += got
        }
        guard count <= Self.maximumByteCount else {
            throw CredentialsError(description: "the API key file \(path) is too large to hold a key")
        }
        return try Self.checked(Array(bytes[..<count]), from: "the API key file \(path)")
    }

    private static func unreadable(_ path: String, _ number: Int32) -> CredentialsError {
        let reason = String(cString: strerror(number))
        return CredentialsError(description: "the API key file \(path) cannot be read: \(reason)")
    }

    /// The key without white space around it, which must be something that a header can carry.
    private static func checked(
        _ bytes: [UInt8],
        from source: String
    ) throws(CredentialsError) -> String {
        let isSpace: (UInt8) -> Bool = { [0x20, 0x09, 0x0a, 0x0d].contains($0) }
        var key = bytes.drop(while: isSpace)
        while let last = key.last, isSpace(last) { key.removeLast() }
        guard !key.isEmpty else { throw CredentialsError(description: "\(source) is empty") }
        guard key.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw CredentialsError(
                description: "\(source) holds more than one word, or characters that no key has"
            )
        }
        return String(decoding: key, as: UTF8.self)
    }

    private static func stamp(_ path: String) -> Stamp? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Stamp(
            inode: UInt64(status.st_ino),
            size: Int64(status.st_size),
            seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec
        )
    }
}

extension Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Not the key.
    public var description: String { "<hidden>" }
    /// Not the key.
    public var debugDescription: String { "<hidden>" }
    /// Nothing to look into.
    public var customMirror: Mirror { Mirror(self, children: ["key": "<hidden>"]) }
}
