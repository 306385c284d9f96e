import Primitives
import Staging
import Synchronization
import SystemPackage

/// Where the bytes of writes are that cannot be taken at once, as the service has to be asked first, or an upload holds
/// the file still: in memory, and beyond a bound in files of the local disk, so that nobody has to wait for the others'.
final class HeldWrites: Sendable {
    private let staging: StagingStore
    private let limit: Int
    private let byteCount = Atomic(0)

    /// Holds so many bytes in memory at most.
    init(limit: Int, _ staging: StagingStore) {
        self.limit = limit
        self.staging = staging
    }

    /// Copies bytes.
    ///
    /// - Throws: The local disk's error.
    func hold(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> HeldWrite {
        let (held, count) = (self.byteCount.add(bytes.count, ordering: .relaxed).newValue, bytes.count)
        if held <= self.limit {
            let buffer = ByteBuffer(count: count)
            buffer.uninitialized.copyMemory(from: bytes)
            return HeldWrite(count, .memory(buffer)) { self.letGo(count) }
        }
        self.letGo(count)
        // Clean, and nobody's: it goes with its last owner, or at the next start.
        let file = try self.staging.makeFile(for: nil, size: UInt64(count))
        try file.fill(bytes, at: 0)
        return HeldWrite(count, .disk(file)) {}
    }

    private func letGo(_ count: Int) { self.byteCount.subtract(count, ordering: .relaxed) }
}

/// The bytes of a write that could not be taken at once.
public final class HeldWrite: Sendable {
    enum Place: Sendable {
        case memory(ByteBuffer)
        case disk(StagedFile)
    }

    /// How many bytes.
    public let count: Int
    private let place: Place
    private let letGo: @Sendable () -> Void

    init(_ count: Int, _ place: Place, letGo: @escaping @Sendable () -> Void) {
        self.count = count
        self.place = place
        self.letGo = letGo
    }

    deinit { self.letGo() }

    /// Does something with the bytes, without waiting for more than the local disk.
    func withBytes(_ body: (UnsafeRawBufferPointer) throws(Errno) -> Void) throws(Errno) {
        switch self.place {
        case .memory(let buffer): try body(buffer.bytes)
        case .disk(let file):
            let buffer = ByteBuffer(count: self.count)
            let count = try file.read(into: buffer.uninitialized, at: 0)
            guard count == self.count else { throw .ioError }
            if let failure = file.diskFailure() { throw failure }
            try body(buffer.bytes)
        }
    }
}
