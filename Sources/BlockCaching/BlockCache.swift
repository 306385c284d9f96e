import DiskCaching
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

    struct State {
        var memory: MemoryTier
        var governor: ReadAheadGovernor
        var loading: [BlockKey: LoadingBlock] = [:]
        /// What is on its way that nobody waits for, in bytes.
        var loadingAheadByteCount = 0
        var nextReader: UInt64 = 0
        var statistics = Statistics()

        /// What was fetched ahead and not read yet, and what is on its way to be, in bytes.
        var aheadByteCount: Int { self.memory.aheadByteCount + self.loadingAheadByteCount }

        /// Notes that a block is wanted ahead of a reader, where it is here or on its way: whether it is.
        mutating func share(_ key: BlockKey, with reader: UInt64) -> Bool {
            guard let loading = self.loading[key] else { return self.memory.share(key, with: reader) }
            if let owner = loading.owner, owner != reader { self.loading[key]?.owner = 0 }
            return true
        }
    }

    let state: Mutex<State>
    private let remote: any RemoteFilesystem
    /// What blocks in memory may take, in bytes.
    public let memoryBudget: Int
    let usedByOthers: @Sendable (Int) -> Int
    /// What the blocks in memory took when the budget was last looked at, in bytes.
    let blockByteCount = Atomic<Int>(0)
    let disk: DiskVersions?
    private let now: @Sendable () -> ContinuousClock.Instant
    /// The longest run fetched with one request, 16 MiB: long enough that the round trip is small beside it.
    private static let maximumRunBlockCount = 256

    /// Makes an empty cache.
    ///
    /// - Parameters:
    ///   - remote: Where blocks come from.
    ///   - disk: Where they are kept beyond memory, if anywhere.
    ///   - memoryBudget: What blocks in memory may take, in bytes.
    ///   - usedByOthers: How much of it something else takes, in bytes, given what the blocks take; they keep half in any
    ///     case.
    ///   - now: The time, by which the way to the service is measured.
    public init(
        remote: any RemoteFilesystem,
        disk: DiskCache? = nil,
        memoryBudget: Int,
        usedByOthers: @escaping @Sendable (Int) -> Int = { _ in 0 },
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.remote = remote
        self.disk = disk.map { DiskVersions($0) }
        self.memoryBudget = memoryBudget
        self.usedByOthers = usedByOthers
        self.now = now
        let governor = ReadAheadGovernor(budget: Self.aheadBudget(memoryBudget))
        self.state = Mutex(State(memory: MemoryTier(budget: memoryBudget), governor: governor))
        disk?.whenRoom { [weak self] in
            self?.storeLateOnDisk()
        }
    }

    /// The figures so far.
    public var statistics: Statistics {
        self.state.withLock { state in
            var statistics = state.statistics
            statistics.memoryByteCount = state.memory.byteCount
            return statistics
        }
    }

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
        let (outcome, fetches, joined): (Outcome, [BlockFetch], [BlockFetch]) = self.state.withLock { state in
            let have = blocks.map { state.memory.get(BlockKey(source.content, $0)) }
            let missing = zip(blocks, have).filter { $1 == nil }.map(\.0)
            state.statistics.hitCount += blocks.count - missing.count
            state.statistics.missCount += missing.count
            if missing.isEmpty { return (.ready(Self.slices(range, blocks, have)), [], []) }
            let read = PendingRead(range: range, blocks: blocks, have: have, completion: completion)
            let (fetches, joined) = Self.join(read, missing, source, &state)
            return (.pending(read), fetches, joined)
        }
        for fetch in joined { fetch.urgency.raise() }
        for fetch in fetches { self.start(fetch, source) }
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

    /// Lets a read wait for blocks: those under way are joined, the others become new fetches, run by run.
    ///
    /// - Returns: The new fetches, and those ahead of need that are waited for from now on.
    private static func join(
        _ read: PendingRead,
        _ missing: [UInt64],
        _ source: BlockSource,
        _ state: inout State
    ) -> (new: [BlockFetch], joined: [BlockFetch]) {
        let absent = missing.filter { state.loading[BlockKey(source.content, $0)] == nil }
        let new = self.fetches(of: absent, source, owner: nil, &state)
        var joined: [BlockFetch] = []
        for index in missing {
            let key = BlockKey(source.content, index)
            guard let loading = state.loading[key] else { continue }
            if loading.isAhead {
                state.loading[key]?.isAhead = false
                state.loadingAheadByteCount -= loading.fetch.byteCount(ofBlock: index)
                if joined.last !== loading.fetch { joined.append(loading.fetch) }
            }
            state.loading[key]?.waiters.append(read)
        }
        return (new, joined)
    }

    /// Notes that blocks are on their way; neighbours come with one request.
    static func fetches(
        of blocks: [UInt64],
        _ source: BlockSource,
        owner: UInt64?,
        _ state: inout State
    ) -> [BlockFetch] {
        BlockGeometry.runs(of: blocks, maximumCount: self.maximumRunBlockCount).map { run in
            let fetch = BlockFetch(run, of: source, isAhead: owner != nil)
            for index in run {
                state.loading[BlockKey(source.content, index)] = LoadingBlock(
                    fetch: fetch,
                    owner: owner,
                    isAhead: owner != nil
                )
            }
            if owner != nil { state.loadingAheadByteCount += self.bytes(of: run, source).count }
            return fetch
        }
    }

    private static func bytes(of run: Range<UInt64>, _ source: BlockSource) -> Range<UInt64> {
        let size = BlockGeometry.blockByteCount
        return run.lowerBound * size..<min(run.upperBound * size, source.size)
    }

    func start(_ fetch: BlockFetch, _ source: BlockSource) {
        fetch.begin(
            Task {
                let runs = await self.readFromDisk(fetch, source)
                if !runs.isEmpty { await self.waitForDisk(fetch) }
                await withTaskGroup(of: Void.self) { group in
                    for run in runs.dropFirst() { group.addTask { await self.load(run, of: fetch, source) } }
                    if let first = runs.first { await self.load(first, of: fetch, source) }
                }
            }
        )
    }

    /// Asks the service for a run of a fetch's blocks.
    private func load(_ run: Range<UInt64>, of fetch: BlockFetch, _ source: BlockSource) async {
        let begin = self.now()
        let file = self.disk?.file(source)
        let sink = BlockRunSink(
            blocks: run,
            size: source.size,
            firstByte: {
                let duration = self.now() - begin
                self.state.withLock { $0.governor.meter.addFirstByte(after: duration) }
            },
            deliver: { index, buffer in
                let key = BlockKey(source.content, index)
                self.finish(key, index, buffer, of: fetch, from: .service)
                if let file { self.storeOnDisk(key, buffer, of: file) }
            }
        )
        var failure = BlockError.gone
        var isOutdated = false
        if let path = source.path() {
            do throws(RemoteError) {
                self.state.withLock { $0.statistics.fetchCount += 1 }
                let range = Self.bytes(of: run, source)
                let count = try await self.remote.read(path, range, into: sink, urgency: fetch.urgency)
                // Blocks that did not come in lie past the file's end on the server.
                failure = .changedOnServer
                isOutdated = count < range.count
            } catch {
                failure = error == .cancelled ? .cancelled : .remote(error)
                // More than was asked for: what was taken of it may be of another place.
                if case .malformedAnswer = error { isOutdated = sink.hasDelivered }
                if error == .notFound { isOutdated = true }
            }
        }
        // Whoever hears of the failure must not find the blocks that came before it.
        if isOutdated { source.outdated() }
        self.fail(run, failure, of: fetch)
    }

    /// Where a block came from.
    enum Origin {
        case service
        case disk
    }

    /// Stores a block and tells the reads that wait for it.
    func finish(
        _ key: BlockKey,
        _ index: UInt64,
        _ buffer: ByteBuffer,
        of fetch: BlockFetch,
        from origin: Origin
    ) {
        let now = self.now()
        // Once for 8 blocks of a stream will do.
        let budget = index % 8 == 0 ? self.currentBudget : nil
        let waiters: [PendingRead] = self.state.withLock { state in
            // Given up meanwhile, or here already.
            guard let loading = state.loading[key], loading.fetch === fetch else { return [] }
            state.loading[key] = nil
            if loading.isAhead { state.loadingAheadByteCount -= buffer.count }
            if let budget { state.keep(to: budget) }
            state.memory.insert(key, buffer, aheadOf: loading.isAhead ? loading.owner : nil)
            self.blockByteCount.store(state.memory.byteCount, ordering: .relaxed)
            switch origin {
            case .disk: state.statistics.diskHitCount += 1
            case .service:
                state.statistics.fetchedByteCount += buffer.count
                state.statistics.fetchedBlockCount += 1
                state.governor.meter.add(buffer.count, at: now)
            }
            return loading.waiters
        }
        for waiter in waiters { waiter.receive(index, .success(buffer)) }
    }

    /// Records that blocks of a run did not come, as far as they did not, and tells the reads that wait for them.
    ///
    /// Nobody is told before all are given up: who is told may ask again at once, and must not join what has failed.
    private func fail(_ run: Range<UInt64>, _ failure: BlockError, of fetch: BlockFetch) {
        let failed: [(index: UInt64, waiters: [PendingRead])] = self.state.withLock { state in
            run.compactMap { index in
                let key = BlockKey(fetch.content, index)
                guard let loading = state.loading[key], loading.fetch === fetch else { return nil }
                state.loading[key] = nil
                if loading.isAhead { state.loadingAheadByteCount -= fetch.byteCount(ofBlock: index) }
                return (index, loading.waiters)
            }
        }
        for (index, waiters) in failed {
            for waiter in waiters { waiter.receive(index, .failure(failure)) }
        }
    }

    /// Takes a cancelled read off the blocks it waits for; fetches that nobody wants any more are cancelled.
    private func leave(_ read: PendingRead, _ source: BlockSource) {
        let abandoned: [BlockFetch] = self.state.withLock { state in
            var left: [BlockFetch] = []
            for index in read.blocks {
                let key = BlockKey(source.content, index)
                guard let at = state.loading[key]?.waiters.firstIndex(where: { $0 === read }) else {
                    continue
                }
                state.loading[key]?.waiters.remove(at: at)
                if let fetch = state.loading[key]?.fetch, left.last !== fetch { left.append(fetch) }
            }
            return left.filter { Self.abandon($0, of: nil, &state) }
        }
        for fetch in abandoned { fetch.cancel() }
    }

    /// Forgets a fetch that nobody waits for, and nobody but a reader that ends reads on to, so that a reader who comes
    /// now begins anew instead of joining what is being cancelled.
    ///
    /// - Returns: Whether that is so.
    static func abandon(_ fetch: BlockFetch, of reader: UInt64?, _ state: inout State) -> Bool {
        let keys = fetch.run.map { ($0, BlockKey(fetch.content, $0)) }.filter {
            state.loading[$1]?.fetch === fetch
        }
        let isWanted = keys.contains { _, key in
            guard let loading = state.loading[key] else { return false }
            return !loading.waiters.isEmpty || loading.owner != nil && loading.owner != reader
        }
        if isWanted { return false }
        for (index, key) in keys {
            if state.loading[key]?.isAhead == true {
                state.loadingAheadByteCount -= fetch.byteCount(ofBlock: index)
            }
            state.loading[key] = nil
        }
        return true
    }

    /// The parts of blocks that make up a range; a block that lies beyond it adds nothing.
    static func slices(
        _ range: Range<UInt64>,
        _ blocks: Range<UInt64>,
        _ have: [ByteBuffer?]
    ) -> [ByteSlice] {
        zip(blocks, have).compactMap { index, buffer in
            guard let buffer else { return nil }
            let start = index * BlockGeometry.blockByteCount
            let wanted = range.clamped(to: start..<start + UInt64(buffer.count))
            return wanted.isEmpty
                ? nil : ByteSlice(buffer, Int(wanted.lowerBound - start)..<Int(wanted.upperBound - start))
        }
    }
}
