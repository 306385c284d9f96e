import Glibc
import Synchronization
import SystemPackage
import Transport

/// The truth about a file's bytes that were written here: a sparse local file, and which of its bytes it holds.
///
/// What it does not hold is read from the version on the service that it is based on.
public final class StagedFile: Sendable {
    /// What there is at one moment.
    public struct Snapshot: Sendable, Hashable {
        /// The file's size in bytes.
        public var size: UInt64
        /// Counts writes and truncations: equal counts mean equal bytes.
        public var changeCount: UInt64
    }

    private struct State {
        var size: UInt64
        var changeCount: UInt64 = 0
        var extents = ExtentMap()
        var isDirty = false
    }

    /// One lock for the map and the local file, so that no reader sees the one without the other.
    private let state: Mutex<State>
    private let descriptor: FileDescriptor
    private let name: StagingName
    private let store: StagingStore

    init(descriptor: FileDescriptor, name: StagingName, size: UInt64, store: StagingStore) {
        self.descriptor = descriptor
        self.name = name
        self.store = store
        self.state = Mutex(State(size: size))
    }

    deinit {
        try? self.descriptor.close()
        self.store.remove(self.name, isDirty: self.state.withLock { $0.isDirty })
    }

    /// What there is now.
    public var snapshot: Snapshot {
        self.state.withLock { Snapshot(size: $0.size, changeCount: $0.changeCount) }
    }

    /// The file's size in bytes.
    public var size: UInt64 { self.snapshot.size }

    /// Whether there are bytes that the service does not have.
    public var isDirty: Bool { self.state.withLock { $0.isDirty } }

    /// Whether all of the file's bytes are here.
    public var isWhole: Bool { self.state.withLock { $0.extents.byteCount == $0.size } }

    /// How many bytes are here.
    public var localByteCount: UInt64 { self.state.withLock { $0.extents.byteCount } }

    /// Writes bytes; the file grows as it must.
    ///
    /// - Throws: The local disk's error, such as ENOSPC.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        guard !bytes.isEmpty else { return }
        try self.change(needing: bytes.count) { state throws(Errno) in
            do throws(Errno) {
                try Self.writeAll(bytes, to: self.descriptor, at: offset)
            } catch {
                // What was written of it past the end would show in a hole that a later write leaves.
                _ = ftruncate(self.descriptor.rawValue, off_t(state.size))
                throw error
            }
            // Between the old end and the new bytes lie zeros: the local file's hole.
            if offset > state.size { state.extents.insert(state.size..<offset) }
            let end = offset + UInt64(bytes.count)
            state.extents.insert(offset..<end)
            state.size = max(state.size, end)
        }
    }

    /// Cuts the file or lets it grow with zeros.
    public func truncate(to size: UInt64) throws(Errno) {
        try self.change { state throws(Errno) in
            guard ftruncate(self.descriptor.rawValue, off_t(size)) == 0 else { throw Errno(rawValue: errno) }
            if size > state.size {
                state.extents.insert(state.size..<size)
            } else {
                state.extents.removeAll(from: size)
            }
            state.size = size
        }
    }

    /// Reserves local space for a range, so that later writes to it do not fail for want of space, and lets the file
    /// grow to it.
    public func allocate(_ range: Range<UInt64>) throws(Errno) {
        try self.change(needing: range.count) { state throws(Errno) in
            let result = posix_fallocate(
                self.descriptor.rawValue,
                off_t(range.lowerBound),
                off_t(range.upperBound - range.lowerBound)
            )
            guard result == 0 else { throw Errno(rawValue: result) }
            if range.upperBound > state.size {
                state.extents.insert(state.size..<range.upperBound)
                state.size = range.upperBound
            }
        }
    }

    /// Makes the file differ from what the service has, as a file that is new or was emptied does.
    public func markDirty() throws(Errno) {
        try self.change { _ throws(Errno) in }
    }

    /// Puts bytes of the version on the service where none are here yet; the file's content does not change by it.
    public func fill(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try self.withState(needing: bytes.count) { state throws(Errno) in
            let end = min(offset + UInt64(bytes.count), max(offset, state.size))
            for (piece, isHere) in state.extents.pieces(of: offset..<end) where !isHere {
                let start = Int(piece.lowerBound - offset)
                try Self.writeAll(
                    UnsafeRawBufferPointer(rebasing: bytes[start..<start + piece.count]),
                    to: self.descriptor,
                    at: piece.lowerBound
                )
                state.extents.insert(piece)
            }
        }
    }

    /// Cuts a range, as far as the file goes, into pieces that are here and pieces that the service has.
    public func pieces(of range: Range<UInt64>) -> [(range: Range<UInt64>, isHere: Bool)] {
        self.state.withLock { $0.extents.pieces(of: range.clamped(to: 0..<$0.size)) }
    }

    /// Reads bytes that are here.
    ///
    /// - Returns: How many were read: fewer than the buffer holds only at the file's end.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        try self.withState { state throws(Errno) in
            guard offset < state.size else { return 0 }
            let wanted = min(buffer.count, Int(state.size - offset))
            var done = 0
            while done < wanted {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<wanted])
                let count = pread(
                    self.descriptor.rawValue,
                    rest.baseAddress,
                    rest.count,
                    off_t(offset) + off_t(done)
                )
                if count < 0 && errno == EINTR { continue }
                // The local file is as long as the file, so that an end before it is a damaged disk, not zeros.
                guard count > 0 else { throw count < 0 ? Errno(rawValue: errno) : .ioError }
                done += count
            }
            return wanted
        }
    }

    /// The service has what was here at a snapshot.
    ///
    /// - Returns: Whether nothing was changed since, so that no bytes wait here any more.
    public func didUpload(_ snapshot: Snapshot) -> Bool {
        self.state.withLock { state in
            guard state.changeCount == snapshot.changeCount else { return false }
            if state.isDirty { self.store.markClean(self.name) }
            state.isDirty = false
            return true
        }
    }

    /// There is no place on the service where the bytes could go: they are put where a person finds them.
    ///
    /// - Returns: The file that holds them.
    public func keepForRecovery() -> String {
        self.state.withLock { state in
            guard state.isDirty else { return "" }
            state.isDirty = false
            return self.store.keep(self.name.dirty)
        }
    }

    /// The bytes here are not wanted by anybody any more: nothing of them is kept for recovery.
    public func discard() {
        self.state.withLock { state in
            if state.isDirty { self.store.markClean(self.name) }
            state.isDirty = false
        }
    }

    private func change(
        needing byteCount: Int = 0,
        _ body: (inout State) throws(Errno) -> Void
    ) throws(Errno) {
        try self.withState(needing: byteCount) { state throws(Errno) in
            // The name on disk says first that there is something to keep.
            if !state.isDirty {
                try self.store.markDirty(self.name)
                state.isDirty = true
            }
            // Counted before, so that an upload that runs beside a failing write looks again too.
            state.changeCount += 1
            try body(&state)
        }
    }

    /// Does something to the file; where the disk is full, once more when room was made for it.
    private func withState<Value: Sendable>(
        needing byteCount: Int = 0,
        _ body: (inout State) throws(Errno) -> Value
    ) throws(Errno) -> Value {
        do throws(Errno) {
            return try self.state.withLock { state throws(Errno) in try body(&state) }
        } catch {
            guard error == .noSpace, self.store.makeRoom(byteCount) else { throw error }
        }
        return try self.state.withLock { state throws(Errno) in try body(&state) }
    }

    private static func writeAll(
        _ bytes: UnsafeRawBufferPointer,
        to descriptor: FileDescriptor,
        at offset: UInt64
    ) throws(Errno) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(descriptor.rawValue, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw count < 0 ? Errno(rawValue: errno) : .ioError }
            done += count
        }
    }
}

/// A part of a staged file as the body of a request: read from the local file while it is sent.
public struct StagedBodyReader: BodyReader {
    private let file: StagedFile
    private let range: Range<UInt64>

    /// Makes a body of a range that is here.
    public init(_ file: StagedFile, _ range: Range<UInt64>) {
        self.file = file
        self.range = range
    }

    /// The part's length in bytes.
    public var count: UInt64 { UInt64(self.range.count) }

    /// Reads from the local file; nothing if it is shorter now or cannot be read.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let wanted = min(buffer.count, Int(self.count - min(offset, self.count)))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        guard let count = try? self.file.read(into: part, at: self.range.lowerBound + offset), count > 0
        else {
            return nil
        }
        return count
    }
}
