import Glibc
import Synchronization
import SystemPackage
import WireFormat

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

    struct State {
        /// Of the local file.
        var name: StagingName
        var size: UInt64
        var changeCount: UInt64 = 0
        var extents = ExtentMap()
        /// What was written, with a promise held, while not all of the file was here, since all of its record was last
        /// written on behalf of that; beyond the limit not all of it.
        var grown = ExtentMap()
        /// So many extents are written with each change before all are.
        static let grownLimit = 256
        /// How far its bytes are on their way; nothing while it is clean.
        var stage: Journal.State?
        /// Whether nobody wants what is here, or will be, to outlive the mount.
        var isAbandoned = false
        /// See ``Journal/Record``, also for those that follow.
        var baseSize: UInt64?
        var replacesUnknown = false
        var completingSize: UInt64?
        /// The size in bytes to which it is about to be cut, as the journal has it already.
        var cutSize: UInt64?
        var synced: Journal.Content?
        /// The changes that `synced` has in it.
        var syncedCount: UInt64 = 0
        /// When the journal last took back what was `synced`; see ``Journal/withdraw()``. Nothing changes here before it
        /// has done so for good: else a power failure would bring that back with other bytes.
        var withdrawal: Int?
        /// The changes that the service has; nothing if it has none.
        var uploadedCount: UInt64?
        /// Whether its local file is where a person finds it, and nothing changes it any more.
        var isKept = false
        var isPromised = false {
            didSet { if !self.isPromised { self.confirmedCount = nil } }
        }
        /// As `syncedCount`, of what the journal has for good; nothing while nothing is promised.
        var confirmedCount: UInt64?
        var reason: String?
        var time: Int64 = 0
        /// The upload that the journal knows.
        var upload: UploadID?
        /// Tells where it is when it becomes dirty.
        var place: @Sendable () -> RemotePath?
        /// Whether the journal's thread will ask for what has changed.
        var isNoted = false
        /// The local file, where it is open.
        var descriptor: FileDescriptor?
        /// Why its bytes could not be synced; what the disk then has is not known any more.
        var syncFailure: Errno?
        /// The end of what was reserved of the local disk, in bytes.
        var reservedEnd: UInt64 = 0
        /// The bytes that are being sent; whether none of them changed since.
        var seal: (bytes: ExtentMap, isIntact: Bool) = (ExtentMap(), true)

        var isDirty: Bool { self.stage != nil }
        var content: Journal.Content {
            let content = Journal.Content(size: self.size, extents: self.isWhole ? nil : self.extents)
            return self.cutSize.map(content.clipped) ?? content
        }
        /// Whether bytes were reported as safe that the service does not have.
        var holdsPromise: Bool { self.isDirty && self.isPromised }
        var isWhole: Bool { self.extents.byteCount == self.size }

        /// What it takes of memory in bytes, about: the extents also as the journal was last told, and what there is of
        /// any file that is open or waits, here and in who uploads it.
        var byteCount: Int { 3 << 10 + self.extents.extents.count * 2 * MemoryLayout<Range<UInt64>>.size }

        /// A range is here that was written.
        mutating func insert(_ range: Range<UInt64>) {
            let isFew = self.grown.extents.count <= Self.grownLimit
            if self.isPromised, self.extents.byteCount < self.size, isFew { self.grown.insert(range) }
            self.extents.insert(range)
        }
    }

    /// One lock for the map and the local file, so that no reader sees the one without the other.
    let state: Mutex<State>
    /// The number in its local file's name.
    let number: UInt64
    let store: StagingStore

    init(state: State, store: StagingStore) {
        self.number = state.name.number
        self.store = store
        self.state = Mutex(state)
        store.memory.add(state.byteCount, ordering: .relaxed)
        if state.descriptor != nil { store.openFiles.didOpen(self) }
    }

    deinit {
        // What was reported as safe is uploaded by the next mount, whatever was done to it since.
        let (name, descriptor, stage) = self.state.withLock { state in
            self.store.memory.subtract(state.byteCount, ordering: .relaxed)
            return (state.name, state.descriptor, state.holdsPromise ? .pending : state.stage)
        }
        if let descriptor {
            try? descriptor.close()
            self.store.openFiles.didClose(self.number)
        }
        self.store.remove(name, stage)
    }

    /// The local file, opened if it is not.
    func open(_ state: inout State) throws(Errno) -> FileDescriptor {
        if let descriptor = state.descriptor { return descriptor }
        let descriptor = try self.store.open(state.isDirty ? state.name.dirty : state.name.clean, options: [])
        state.descriptor = descriptor
        self.store.openFiles.didOpen(self)
        return descriptor
    }

    /// A second descriptor of the local file, for what takes long and must not hold the lock.
    func duplicate() throws(Errno) -> FileDescriptor {
        try self.state.withLock { state throws(Errno) in
            let descriptor = try self.open(&state)
            do { return try descriptor.duplicate() } catch { throw error as? Errno ?? .ioError }
        }
    }

    /// Closes the local file until it is next used, unless bytes are being written to it.
    func closeUntilUsed() {
        self.state.withLock { state in
            guard state.stage != .open, !state.isAbandoned, let descriptor = state.descriptor else { return }
            try? descriptor.close()
            state.descriptor = nil
            self.store.openFiles.didClose(self.number)
        }
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
    public var isWhole: Bool { self.state.withLock(\.isWhole) }

    /// Whether a close or fsync reported bytes as safe that the service does not have: they must not be thrown away,
    /// also by who empties the file.
    public var holdsPromise: Bool { self.state.withLock(\.holdsPromise) }

    /// How many bytes are here.
    public var localByteCount: UInt64 { self.state.withLock { $0.extents.byteCount } }

    /// Writes bytes; the file grows as it must.
    ///
    /// - Throws: The local disk's error, such as ENOSPC.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        guard !bytes.isEmpty else { return }
        let end = offset + UInt64(bytes.count)
        try self.change(of: offset..<end, needing: bytes.count) { state throws(Errno) in
            let descriptor = try self.open(&state)
            do throws(Errno) {
                try Self.writeAll(bytes, to: descriptor, at: offset)
            } catch {
                // What was written of it past the end would show in a hole that a later write leaves.
                _ = ftruncate(descriptor.rawValue, off_t(state.size))
                throw error
            }
            // Between the old end and the new bytes lie zeros: the local file's hole.
            state.insert(min(offset, state.size)..<end)
            state.size = max(state.size, end)
        }
    }

    /// Cuts the file or lets it grow with zeros.
    ///
    /// - Parameters:
    ///   - size: How large it becomes, in bytes.
    ///   - keepsPromise: Whether it is left as it is if it is to be emptied, and bytes of it were reported as safe that the
    ///     service does not have.
    /// - Returns: `false` if it was left as it is.
    /// - Throws: The local disk's error.
    @discardableResult
    public func truncate(to size: UInt64, keepingPromise keepsPromise: Bool = false) throws(Errno) -> Bool {
        let mustStay: (State) -> Bool = { keepsPromise && size == 0 && $0.holdsPromise }
        return try self.change(of: size..<UInt64.max, cuttingTo: size, unless: mustStay) {
            state throws(Errno) in
            let descriptor = try self.open(&state)
            var next = state
            next.size = size
            next.cutSize = nil
            if size > state.size {
                next.insert(state.size..<size)
            } else {
                next.extents.removeAll(from: size)
                next.grown.removeAll(from: size)
                next.synced = state.synced?.clipped(to: size)
                // Who empties a file begins a new content: nothing of the one that was reported as safe is left.
                if size == 0, state.synced?.size ?? 0 > 0 { next.isPromised = false }
                // First: never is more said to be here, or synced, than there is.
                var announced = next
                (announced.size, announced.extents, announced.cutSize) = (state.size, state.extents, size)
                self.record(announced)
            }
            guard ftruncate(descriptor.rawValue, off_t(size)) == 0 else { throw Errno(rawValue: errno) }
            let isCut = size < state.size && !state.isWhole
            state = next
            // From now on what lies beyond that end in the local file was written there.
            if isCut { self.record(state) }
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
                    to: try self.open(&state),
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

    /// Which bytes are to be brought here, and put here by ``fill(_:at:)``, before more is written, since what is here is
    /// in too many pieces by now: gaps between them, the smallest, so that they become fewer.
    public var gapsToFill: [Range<UInt64>] {
        let limit = self.store.extentLimit
        return self.state.withLock { state in
            state.extents.extents.count < limit ? [] : state.extents.smallestGaps(max(1, limit / 256))
        }
    }

    /// Reads bytes that are here.
    ///
    /// - Returns: How many were read: fewer than the buffer holds only at the file's end.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        try self.withState { state throws(Errno) in
            guard offset < state.size else { return 0 }
            let wanted = min(buffer.count, Int(state.size - offset))
            let descriptor = try self.open(&state)
            var done = 0
            while done < wanted {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<wanted])
                let count = pread(
                    descriptor.rawValue,
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

    /// Says that bytes are sent as they are now; ``isSealed`` tells whether they stayed so.
    ///
    /// - Parameter range: Offsets in bytes, end exclusive.
    /// - Returns: Whether all of them are here, and none of those sealed before has changed.
    public func seal(_ range: Range<UInt64>) -> Bool {
        self.state.withLock { state in
            guard state.seal.isIntact, range.upperBound <= state.size,
                state.extents.pieces(of: range).allSatisfy(\.isHere)
            else { return false }
            state.seal.bytes.insert(range)
            return true
        }
    }

    /// Whether none of the sealed bytes was changed.
    public var isSealed: Bool { self.state.withLock { $0.seal.isIntact } }

    /// Ends the seal.
    public func unseal() { self.state.withLock { $0.seal = (ExtentMap(), true) } }

    /// Changes what is here.
    ///
    /// - Returns: `false` if `mustStay` said so, and nothing was changed.
    @discardableResult
    func change(
        of range: Range<UInt64> = 0..<0,
        needing byteCount: Int = 0,
        cuttingTo size: UInt64? = nil,
        unless mustStay: (State) -> Bool = { _ in false },
        _ body: (inout State) throws(Errno) -> Void
    ) throws(Errno) -> Bool {
        while true {
            let (upload, mayComeBack) = self.state.withLock { ($0.upload, self.mayComeBack(&$0)) }
            if upload != nil || mayComeBack {
                // Where nobody has seen to it before: see `prepareToChange`.
                if upload != nil { self.store.journal.queue(.endUpload(self.number)) }
                try self.store.journal.commitBlocking()
                if let upload { self.didEnd(upload) }
            }
            let isDone: Bool? = try self.withState(needing: byteCount) { state throws(Errno) in
                guard state.upload == nil, !self.mayComeBack(&state) else { return nil }
                if mustStay(state) { return false }
                try self.willChange(&state, cuttingTo: size)
                // Counted before, so that an upload that runs beside a failing write looks again too.
                state.changeCount += 1
                if state.seal.bytes.pieces(of: range).contains(where: \.isHere) {
                    state.seal.isIntact = false
                }
                try body(&state)
                return true
            }
            if let isDone { return isDone }
        }
    }

    /// Does something to the file; where the disk is full, once more when room was made for it.
    func withState<Value: Sendable>(
        needing byteCount: Int = 0,
        _ body: (inout State) throws(Errno) -> Value
    ) throws(Errno) -> Value {
        do throws(Errno) {
            return try self.withCountedState(body)
        } catch {
            guard error == .noSpace || error == .diskQuotaExceeded, self.store.makeRoom(byteCount) else {
                throw error
            }
        }
        return try self.withCountedState(body)
    }

    private func withCountedState<Value: Sendable>(
        _ body: (inout State) throws(Errno) -> Value
    ) throws(Errno) -> Value {
        try self.state.withLock { state throws(Errno) in
            let before = state.byteCount
            defer { self.store.memory.add(state.byteCount - before, ordering: .relaxed) }
            return try body(&state)
        }
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
