import Dispatch
import Primitives
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
/// A key file is read again when it was changed, and when the server refuses the key: on a thread of its own, since it may
/// be in a home directory that hangs, and that must hang nobody.
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
        /// When the file was looked at, or began to be.
        var lookedAt = ContinuousClock.now
        /// Looks under way.
        var lookCount = 0

        mutating func beginLook(at now: ContinuousClock.Instant) {
            self.lookedAt = now
            self.lookCount += 1
        }
    }

    private let path: String?
    private let state: Mutex<State>
    private let thread = DispatchQueue(label: "tetherfs.key")
    /// How often the file is looked at, at most, while the key is not refused.
    private let interval: Duration
    /// Called before each look, for tests.
    private let willLook: @Sendable () -> Void
    /// How long a refused key waits for another one.
    private static let patience = DispatchTimeInterval.seconds(2)
    /// As many calls as are on their way at once; of a file that hangs more looks are of no use.
    private static let maximumLookCount = 64

    /// Takes a key as it is, such as from the environment; white space around it counts for nothing.
    ///
    /// - Parameter key: The key.
    /// - Throws: If it is empty or not of visible ASCII characters.
    public init(key: String) throws(CredentialsError) {
        self.path = nil
        self.interval = .zero
        self.willLook = {}
        self.state = Mutex(State(key: try Self.checked(Array(key.utf8), from: "the API key"), stamp: nil))
    }

    /// Reads the key from a file.
    ///
    /// - Parameter path: The file, which holds the key alone.
    /// - Throws: If it cannot be read, can be read by others too, or holds no key.
    public convenience init(file path: String) throws(CredentialsError) {
        try self.init(file: path, lookingEach: .seconds(1))
    }

    init(
        file path: String,
        lookingEach interval: Duration,
        willLook: @escaping @Sendable () -> Void = {}
    ) throws(CredentialsError) {
        let stamp = Self.stamp(path)
        let key = try Self.readKey(path)
        self.path = path
        self.interval = interval
        self.willLook = willLook
        self.state = Mutex(State(key: key, stamp: stamp))
    }

    /// The key as it was last read. Its file is looked at again, for the calls that follow.
    func key() -> String {
        let now = ContinuousClock.now
        let (key, isDue) = self.state.withLock { state in
            let isDue = self.path != nil && state.lookCount == 0 && now - state.lookedAt >= self.interval
            if isDue { state.beginLook(at: now) }
            return (state.key, isDue)
        }
        if isDue { self.thread.async { self.look(isRefused: false) } }
        return key
    }

    /// Another key than the one that was refused, if there is one by now.
    func key(insteadOf refused: String) async -> String? {
        let now = ContinuousClock.now
        let isDue = self.state.withLock { state in
            guard self.path != nil, state.lookCount < Self.maximumLookCount else { return false }
            state.beginLook(at: now)
            return true
        }
        if isDue {
            let end = OneShot<Void>()
            self.thread.async {
                self.look(isRefused: true)
                end.resolve(())
            }
            DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience) { end.resolve(()) }
            await end.wait()
        }
        let key = self.state.withLock(\.key)
        return key == refused ? nil : key
    }

    /// Reads the file again if it was changed, or the key was refused; what cannot be read now leaves the last good key.
    private func look(isRefused: Bool) {
        self.willLook()
        let stamp = self.path.flatMap(Self.stamp)
        let isChanged = stamp != nil && stamp != self.state.withLock(\.stamp)
        let key = isChanged || isRefused ? self.path.flatMap { try? Self.readKey($0) } : nil
        self.state.withLock { state in
            state.lookCount -= 1
            if let key { (state.key, state.stamp) = (key, stamp) }
        }
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
