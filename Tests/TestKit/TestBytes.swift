import Primitives
import Synchronization
import Transport
import WireFormat

/// Bytes with a period of 251, a prime, so that nothing misplaced compares equal.
public func pattern(_ count: Int, from start: Int = 0) -> [UInt8] {
    (start..<start + count).map { UInt8($0 % 251) }
}

/// A path that the test knows to be one.
public func path(_ text: String) -> RemotePath {
    guard let path = RemotePath(text) else { preconditionFailure("a test's path is a path") }
    return path
}

/// A name that the test knows to be one.
public func name(_ text: String) -> FileName {
    guard let name = FileName(text) else { preconditionFailure("a test's name is a name") }
    return name
}

/// An upload id that the test knows to be one.
public func uploadID(_ text: String) -> UploadID {
    guard let id = UploadID(text) else { preconditionFailure("a test's upload id is one") }
    return id
}

/// Keeps what it receives, up to a limit.
public final class CollectingSink: BodySink {
    private let collected = Mutex<[UInt8]>([])
    private let joinedAt = Mutex<[Int]>([])
    private let limit: Int

    /// Takes at most so many bytes.
    public init(limit: Int = .max) { self.limit = limit }

    /// What came.
    public var bytes: [UInt8] { self.collected.withLock { $0 } }

    /// Before which bytes another response began.
    public var joins: [Int] { self.joinedAt.withLock { $0 } }

    /// Notes where another response begins.
    public func willJoin() { self.joinedAt.withLock { $0.append(self.bytes.count) } }

    /// Takes bytes, unless they are more than the limit allows.
    public func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.collected.withLock { collected in
            guard collected.count + bytes.count <= self.limit else { return false }
            collected.append(contentsOf: bytes)
            return true
        }
    }
}

/// A body of bytes in memory, which may be shorter than it says.
public struct ArrayReader: BodyReader {
    private let bytes: [UInt8]
    /// What it says its length is, in bytes.
    public let count: UInt64

    /// Takes bytes, and another length than theirs if need be.
    public init(_ bytes: [UInt8], declared: UInt64? = nil) {
        self.bytes = bytes
        self.count = declared ?? UInt64(bytes.count)
    }

    /// Copies; nothing from beyond the end.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard offset < UInt64(self.bytes.count) else { return nil }
        let part = self.bytes[Int(offset)...].prefix(buffer.count)
        part.withUnsafeBytes { buffer.copyMemory(from: $0) }
        return part.count
    }
}

extension BodyReader {
    /// Reads the whole body as a transport would.
    ///
    /// - Parameter handle: Told when the body is waited for.
    /// - Returns: The bytes; nothing if they cannot be had, or the task was cancelled.
    public func readAll(_ handle: TransferHandle? = nil) async -> [UInt8]? {
        var all: [UInt8] = []
        // A size that divides nothing, so that readers are asked at odd offsets.
        var buffer = [UInt8](repeating: 0, count: 100_003)
        while UInt64(all.count) < self.count {
            let resumed = OneShot<Void>()
            if !self.isReady(at: UInt64(all.count), { resumed.resolve(()) }) {
                handle?.note(isPaused: true)
                let isResumed = await resumed.wait() != nil
                handle?.note(isPaused: false)
                if !isResumed { return nil }
                continue
            }
            let wanted = min(buffer.count, Int(self.count) - all.count)
            let got = buffer.withUnsafeMutableBytes { memory in
                self.read(at: UInt64(all.count), into: .init(rebasing: memory[..<wanted]))
            }
            guard let got, got > 0 else { return nil }
            all.append(contentsOf: buffer[..<got])
            handle?.note(sent: got)
        }
        return all
    }
}

extension Range<Int> {
    /// A range of offsets as a range of indices.
    public init(_ range: Range<UInt64>) { self = Int(range.lowerBound)..<Int(range.upperBound) }
}
