import BlockCaching
import Primitives
import Staging
import Synchronization
import Transport

/// A part of a file as a request's body, of which the service has some itself: that comes through the block cache while
/// it is sent, a window at a time, and what was written here straight from the staged file.
final class MixedBodyReader: BodyReader {
    private struct State {
        /// The bytes from the service that are sent next, and where they are in the file.
        var window: (range: Range<UInt64>, slices: [ByteSlice])?
        /// What is waited for.
        var pending: (range: Range<UInt64>, read: PendingRead?)?
        var resume: (@Sendable () -> Void)?
        /// How far was asked for ahead of need, in the file.
        var aheadEnd: UInt64
        var isFailed = false
        /// Whether the file was met once as shorter than it is known to be: believed at the second time.
        var wasShort = false
    }

    let count: UInt64
    let waitsForRequests = true
    private let range: Range<UInt64>
    private let staged: StagedFile?
    private let base: BlockSource
    private let cache: BlockCache
    private let onFailure: @Sendable (FileSystemError) -> Void
    private let state: Mutex<State>

    /// What is held for a body beside the cache, in bytes, and how far it is looked for what is where at once.
    private static let windowByteCount: UInt64 = 256 << 10
    /// How far ahead of what is sent is asked for, in bytes: two of them, so that the next is on its way.
    private static let stepByteCount: UInt64 = 2 << 20

    /// Makes a body; nothing is asked for before it is sent.
    ///
    /// - Parameters:
    ///   - range: Which part of the file, in bytes, end exclusive.
    ///   - staged: What was written here, if anything was.
    ///   - base: The version on the service.
    ///   - cache: Through which that comes.
    ///   - onFailure: Told why the body cannot be had, before it says so.
    init(
        _ range: Range<UInt64>,
        staged: StagedFile?,
        base: BlockSource,
        cache: BlockCache,
        onFailure: @escaping @Sendable (FileSystemError) -> Void
    ) {
        self.count = UInt64(range.count)
        self.range = range
        self.staged = staged
        self.base = base
        self.cache = cache
        self.onFailure = onFailure
        self.state = Mutex(State(aheadEnd: range.lowerBound))
    }

    deinit { self.state.withLock { $0.pending?.read }?.cancel() }

    /// Whether the bytes are here; also if it is clear that they cannot be had.
    func isReady(at offset: UInt64, _ resume: @escaping @Sendable () -> Void) -> Bool {
        let position = self.range.lowerBound + offset
        let isKnown: Bool? = self.state.withLock { state in
            if state.isFailed || state.window?.range.contains(position) == true { return true }
            guard state.pending?.range.contains(position) == true else { return nil }
            state.resume = resume
            return false
        }
        if let isKnown { return isKnown }
        // None where a writer has cut the file.
        guard let piece = self.piece(at: position), !piece.isHere else { return true }
        return self.fetch(piece.range, resume)
    }

    /// Fills in what is here of the bytes from an offset on.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var filled = 0
        while filled < buffer.count, offset + UInt64(filled) < self.count {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let position = self.range.lowerBound + offset + UInt64(filled)
            guard let count = self.readWindow(at: position, into: room) ?? self.readPiece(at: position, room),
                count > 0
            else { break }
            filled += count
        }
        return filled > 0 ? filled : nil
    }

    private func readWindow(at position: UInt64, into room: UnsafeMutableRawBufferPointer) -> Int? {
        let window = self.state.withLock { $0.window }
        guard let window, window.range.contains(position) else { return nil }
        var start = window.range.lowerBound
        for slice in window.slices {
            let end = start + UInt64(slice.range.count)
            if position < end {
                let part = slice.bytes[Int(position - start)...].prefix(room.count)
                room.copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
                return part.count
            }
            start = end
        }
        return nil
    }

    /// Reads what is staged; of what is not, so much as needs no waiting.
    private func readPiece(at position: UInt64, _ room: UnsafeMutableRawBufferPointer) -> Int? {
        guard let piece = self.piece(at: position) else { return nil }
        if piece.isHere {
            let part = UnsafeMutableRawBufferPointer(rebasing: room.prefix(piece.range.count))
            return try? self.staged?.read(into: part, at: position)
        }
        return self.fetch(piece.range, nil) ? self.readWindow(at: position, into: room) : nil
    }

    /// Where the bytes from a position on are, as far as they are at one place.
    private func piece(at position: UInt64) -> (range: Range<UInt64>, isHere: Bool)? {
        let range = position..<min(position + Self.windowByteCount, self.range.upperBound)
        return self.pieces(of: range).first
    }

    private func pieces(of range: Range<UInt64>) -> [(range: Range<UInt64>, isHere: Bool)] {
        self.staged?.pieces(of: range) ?? [(range, false)]
    }

    /// Gets bytes from the service: whether they are here now, or known not to come.
    private func fetch(_ range: Range<UInt64>, _ resume: (@Sendable () -> Void)?) -> Bool {
        self.fetchAhead(of: range)
        self.state.withLock { state in
            state.pending = (range, nil)
            state.resume = resume
        }
        return self.request(range)
    }

    private func request(_ range: Range<UInt64>) -> Bool {
        let outcome = self.cache.read(self.base, range) { [weak self] in self?.received($0, range) }
        switch outcome {
        case .ready(let slices):
            self.received(.success(slices), range)
            return true
        case .pending(let read):
            self.state.withLock { state in
                // Unless they have come in the meantime.
                if state.pending?.range == range { state.pending?.read = read }
            }
            return false
        }
    }

    private func received(_ result: Result<[ByteSlice], BlockError>, _ range: Range<UInt64>) {
        if case .failure(.changedOnServer) = result, self.isRepeated(range) {
            Task { _ = self.request(range) }
            return
        }
        let (resume, failure): ((@Sendable () -> Void)?, FileSystemError?) = self.state.withLock { state in
            guard state.pending?.range == range else { return (nil, nil) }
            defer { state.resume = nil }
            state.pending = nil
            switch result {
            case .success(let slices):
                state.window = (range, slices)
                return (state.resume, nil)
            case .failure(let error):
                state.isFailed = true
                return (state.resume, FileSystemError(error))
            }
        }
        if let failure { self.onFailure(failure) }
        resume?()
    }

    /// Whether what is waited for is asked for once more.
    private func isRepeated(_ range: Range<UInt64>) -> Bool {
        self.state.withLock { state in
            guard state.pending?.range == range, !state.wasShort else { return false }
            state.wasShort = true
            return true
        }
    }

    /// Has the next missing bytes come in few requests, as far as the cache has room for what is ahead of need.
    private func fetchAhead(of range: Range<UInt64>) {
        let wanted: Range<UInt64>? = self.state.withLock { state in
            // Also when the part is sent once more.
            let start = state.aheadEnd > range.lowerBound + 2 * Self.stepByteCount ? 0 : state.aheadEnd
            guard start < range.lowerBound + Self.stepByteCount else { return nil }
            let from = max(start, range.lowerBound)
            let end = min(range.lowerBound + 2 * Self.stepByteCount, self.range.upperBound)
            state.aheadEnd = end
            return from < end ? from..<end : nil
        }
        guard let wanted, UInt64(self.cache.readAheadRoom) >= 2 * Self.stepByteCount else { return }
        var run: Range<UInt64>?
        for piece in self.pieces(of: wanted) {
            if !piece.isHere {
                run = (run?.lowerBound ?? piece.range.lowerBound)..<piece.range.upperBound
            } else if piece.range.count >= Self.windowByteCount, let missing = run {
                self.cache.readAhead(self.base, missing)
                run = nil
            }
        }
        if let run { self.cache.readAhead(self.base, run) }
    }
}
