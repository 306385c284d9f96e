import Primitives
import RemoteAPI
import Synchronization
import Transport
import WireFormat

/// The bytes of files on the service, as blocks that all readers share.
///
/// Each block is fetched once however many want it; neighbouring blocks that are missing come in one request. A read
/// whose blocks are in memory is answered at once, on the caller's thread.
public final class BlockCache: Sendable {
    /// What a read comes to.
    public enum Outcome: Sendable {
        /// The bytes, in order; together exactly the range that was asked for, as far as the file goes.
        case ready([ByteSlice])
        /// They are being fetched; the completion is called once.
        case pending(PendingRead)
    }

    /// Figures of the cache since the start.
    public struct Statistics: Sendable {
        /// Requests sent, a run of blocks each.
        public var fetchCount = 0
        /// Bytes that arrived.
        public var fetchedByteCount = 0
        /// Blocks answered from memory, and blocks that had to be waited for.
        public var hitCount = 0
        /// Blocks that had to be waited for.
        public var missCount = 0
    }

    /// A request for a run of blocks.
    private final class Fetch: Sendable {
        struct State {
            var task: Task<Void, Never>?
            /// Reads that wait for a block of it; at zero it is cancelled, unless it is read-ahead.
            var waiterCount = 0
        }
        let isReadAhead: Bool
        let state = Mutex(State())

        init(isReadAhead: Bool) { self.isReadAhead = isReadAhead }
    }

    private struct Loading {
        let fetch: Fetch
        var waiters: [PendingRead] = []
    }

    private struct State {
        var memory: MemoryTier
        var loading: [BlockKey: Loading] = [:]
        var statistics = Statistics()
    }

    private let state: Mutex<State>
    private let remote: any RemoteFilesystem
    /// The longest run fetched with one request: long enough that the round trip is small beside it.
    private static let maximumRunBlockCount: UInt64 = 128

    /// Makes an empty cache.
    ///
    /// - Parameters:
    ///   - remote: Where blocks come from.
    ///   - memoryBudget: What blocks in memory may take, in bytes.
    public init(remote: any RemoteFilesystem, memoryBudget: Int) {
        self.remote = remote
        self.state = Mutex(State(memory: MemoryTier(budget: memoryBudget)))
    }

    /// The figures so far.
    public var statistics: Statistics { self.state.withLock { $0.statistics } }

    /// Reads a range of a file.
    ///
    /// - Parameters:
    ///   - source: The version to read.
    ///   - range: Offsets in bytes, end exclusive; cut at the file's end.
    ///   - completion: Called once if the outcome is `.pending`, on whatever thread the last block came in on, also
    ///     after ``PendingRead/cancel()``.
    /// - Returns: The bytes, or the word that they are being fetched.
    public func read(
        _ source: BlockSource,
        _ range: Range<UInt64>,
        completion: @escaping @Sendable (Result<[ByteSlice], BlockError>) -> Void
    ) -> Outcome {
        let range = range.clamped(to: 0..<source.size)
        let blocks = BlockGeometry.blocks(range)
        let (outcome, fetches): (Outcome, [(Fetch, Range<UInt64>)]) = self.state.withLock { state in
            var have: [UInt64: ByteBuffer] = [:]
            for index in blocks {
                if let buffer = state.memory.get(BlockKey(source.content, index)) { have[index] = buffer }
            }
            state.statistics.hitCount += have.count
            state.statistics.missCount += blocks.count - have.count
            if have.count == blocks.count {
                return (.ready(Self.slices(range, blocks, have)), [])
            }
            let read = PendingRead(range: range, blocks: blocks, have: have, completion: completion)
            let fetches = Self.join(
                read,
                blocks.filter { have[$0] == nil },
                source,
                isReadAhead: false,
                &state
            )
            return (.pending(read), fetches)
        }
        for (fetch, run) in fetches { self.start(fetch, run, source) }
        if case .pending(let read) = outcome { read.whenCancelled { self.leave($0, source) } }
        return outcome
    }

    /// Reads a range of a file, waiting for what is not here.
    public func read(
        _ source: BlockSource,
        _ range: Range<UInt64>
    ) async throws(BlockError) -> [ByteSlice] {
        let answer = OneShot<Result<[ByteSlice], BlockError>>()
        switch self.read(source, range, completion: { answer.resolve($0) }) {
        case .ready(let slices): return slices
        case .pending(let read):
            guard let result = await answer.wait() else {
                read.cancel()
                throw .cancelled
            }
            return try result.get()
        }
    }

    /// Fetches a range that nobody waits for yet; what is here or under way is left out.
    public func readAhead(_ source: BlockSource, _ range: Range<UInt64>) {
        let blocks = BlockGeometry.blocks(range.clamped(to: 0..<source.size))
        let fetches: [(Fetch, Range<UInt64>)] = self.state.withLock { state in
            let missing = blocks.filter { !state.memory.contains(BlockKey(source.content, $0)) }
            return Self.join(nil, missing, source, isReadAhead: true, &state)
        }
        for (fetch, run) in fetches { self.start(fetch, run, source) }
    }

    /// Lets a read wait for blocks: those under way are joined, the others become new fetches, run by run.
    private static func join(
        _ read: PendingRead?,
        _ missing: [UInt64],
        _ source: BlockSource,
        isReadAhead: Bool,
        _ state: inout State
    ) -> [(Fetch, Range<UInt64>)] {
        var fetches: [(Fetch, Range<UInt64>)] = []
        for index in missing {
            let key = BlockKey(source.content, index)
            if state.loading[key] == nil {
                if let last = fetches.last, last.1.upperBound == index,
                    last.1.count < self.maximumRunBlockCount
                {
                    fetches[fetches.count - 1].1 = last.1.lowerBound..<index + 1
                } else {
                    fetches.append((Fetch(isReadAhead: isReadAhead), index..<index + 1))
                }
                state.loading[key] = Loading(fetch: fetches[fetches.count - 1].0)
            }
            if let read {
                state.loading[key]?.waiters.append(read)
                state.loading[key]?.fetch.state.withLock { $0.waiterCount += 1 }
            }
        }
        return fetches
    }

    private func start(_ fetch: Fetch, _ run: Range<UInt64>, _ source: BlockSource) {
        let task = Task {
            let sink = BlockRunSink(blocks: run, size: source.size) { index, buffer in
                self.finish(BlockKey(source.content, index), index, .success(buffer))
            }
            let bytes =
                run.lowerBound
                * BlockGeometry.blockByteCount..<min(
                    run.upperBound * BlockGeometry.blockByteCount,
                    source.size
                )
            var failure = BlockError.gone
            if let path = source.path() {
                do throws(RemoteError) {
                    self.state.withLock { $0.statistics.fetchCount += 1 }
                    _ = try await self.remote.read(path, bytes, into: sink)
                    // Blocks that did not come in lie past the file's end on the server.
                    failure = .changedOnServer
                } catch {
                    failure = error == .cancelled ? .cancelled : .remote(error)
                }
            }
            for index in run {
                self.finish(BlockKey(source.content, index), index, .failure(failure), of: fetch)
            }
        }
        fetch.state.withLock { $0.task = task }
    }

    /// Stores a block, or records that it did not come, and tells the reads that wait for it.
    private func finish(
        _ key: BlockKey,
        _ index: UInt64,
        _ result: Result<ByteBuffer, BlockError>,
        of fetch: Fetch? = nil
    ) {
        let waiters: [PendingRead] = self.state.withLock { state in
            if let fetch, state.loading[key]?.fetch !== fetch { return [] }
            let loading = state.loading.removeValue(forKey: key)
            if case .success(let buffer) = result {
                state.memory.insert(key, buffer)
                state.statistics.fetchedByteCount += buffer.count
            }
            loading?.fetch.state.withLock { $0.waiterCount -= loading?.waiters.count ?? 0 }
            return loading?.waiters ?? []
        }
        for waiter in waiters { waiter.receive(index, result) }
    }

    /// Takes a cancelled read off the blocks it waits for; fetches that nobody wants any more are cancelled.
    private func leave(_ read: PendingRead, _ source: BlockSource) {
        let abandoned: [Task<Void, Never>] = self.state.withLock { state in
            var abandoned: [Task<Void, Never>] = []
            for index in read.blocks {
                let key = BlockKey(source.content, index)
                guard let at = state.loading[key]?.waiters.firstIndex(where: { $0 === read }) else {
                    continue
                }
                state.loading[key]?.waiters.remove(at: at)
                let task: Task<Void, Never>? = state.loading[key]?.fetch.state.withLock { fetch in
                    fetch.waiterCount -= 1
                    return fetch.waiterCount == 0 ? fetch.task : nil
                }
                if let fetch = state.loading[key]?.fetch, let task, !fetch.isReadAhead {
                    abandoned.append(task)
                    // A reader that comes now begins anew instead of joining what is being cancelled.
                    state.loading = state.loading.filter { $0.value.fetch !== fetch }
                }
            }
            return abandoned
        }
        for task in abandoned { task.cancel() }
    }

    static func slices(
        _ range: Range<UInt64>,
        _ blocks: Range<UInt64>,
        _ have: [UInt64: ByteBuffer]
    ) -> [ByteSlice] {
        blocks.compactMap { index in
            guard let buffer = have[index] else { return nil }
            let start = index * BlockGeometry.blockByteCount
            let wanted = range.clamped(to: start..<start + UInt64(buffer.count))
            return wanted.isEmpty
                ? nil : ByteSlice(buffer, Int(wanted.lowerBound - start)..<Int(wanted.upperBound - start))
        }
    }
}
