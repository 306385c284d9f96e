import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing
import WireFormat

@testable import BlockCaching

private let block = Int(BlockGeometry.blockByteCount)

// Comparing many megabytes takes minutes with a sanitizer.
@Suite("Blocks that all readers share", .timeLimit(.minutes(5)))
struct BlockCacheTests {
    private let remote = InMemoryRemote()
    private let cache: BlockCache

    init() {
        self.cache = BlockCache(remote: self.remote, memoryBudget: 64 << 20)
        self.remote.put("a", pattern(10 * block + 100))
    }

    private func source(_ content: UInt64 = 1, size: Int? = nil) -> BlockSource {
        BlockSource(content: ContentID(rawValue: content), size: UInt64(size ?? 10 * block + 100)) {
            path("a")
        }
    }

    private func read(
        _ range: Range<Int>,
        of source: BlockSource? = nil,
        from cache: BlockCache? = nil
    ) async -> Result<[UInt8], BlockError> {
        do throws(BlockError) {
            let range = UInt64(range.lowerBound)..<UInt64(range.upperBound)
            let slices = try await (cache ?? self.cache).read(source ?? self.source(), range)
            return .success(slices.flatMap { Array($0.bytes) })
        } catch {
            return .failure(error)
        }
    }

    @Test("A read gives exactly its range, across blocks and up to the file's end")
    func ranges() async {
        #expect(await self.read(block - 5..<block + 5) == .success(pattern(10, from: block - 5)))
        #expect(await self.read(0..<3 * block) == .success(pattern(3 * block)))
        #expect(await self.read(10 * block + 90..<20 * block) == .success(pattern(10, from: 10 * block + 90)))
        #expect(await self.read(11 * block..<12 * block) == .success([]))
        #expect(await self.read(5..<5) == .success([]))
    }

    @Test("Neighbouring blocks that are missing come with one request, rounded to whole blocks")
    func run() async {
        _ = await self.read(10..<2 * block + 1)
        #expect(self.remote.calls == ["read a 0-\(3 * block)"])
    }

    @Test("What is here is not fetched again, and only the gaps are")
    func gaps() async {
        _ = await self.read(2 * block..<3 * block)
        self.remote.forgetCalls()
        #expect(await self.read(0..<5 * block) == .success(pattern(5 * block)))
        #expect(Set(self.remote.calls) == ["read a 0-\(2 * block)", "read a \(3 * block)-\(5 * block)"])
        self.remote.forgetCalls()
        #expect(await self.read(0..<5 * block) == .success(pattern(5 * block)))
        #expect(self.remote.calls.isEmpty)
    }

    @Test("Who asks again in the moment in which a request of several blocks fails joins none of them")
    func askedAgainAtOnce() async {
        self.remote.put("a", pattern(10))
        let answer = OneShot<Result<[ByteSlice], BlockError>>()
        let (cache, remote, source) = (self.cache, self.remote, self.source())
        let range = UInt64(0)..<UInt64(3 * block)
        _ = cache.read(source, range) { first in
            #expect(throws: BlockError.changedOnServer) { try first.get() }
            remote.put("a", pattern(10 * block + 100))
            if case .ready(let slices) = cache.read(source, range, completion: { answer.resolve($0) }) {
                answer.resolve(.success(slices))
            }
        }
        let second = await answer.wait()
        #expect(throws: Never.self) { try second?.get() }
        #expect(remote.count(.read) == 2)
    }

    @Test("A read whose blocks are in memory is answered at once")
    func immediate() async {
        _ = await self.read(0..<10)
        let outcome = self.cache.read(self.source(), 2..<5) { _ in Issue.record("called although ready") }
        guard case .ready(let slices) = outcome else {
            Issue.record("not ready")
            return
        }
        #expect(slices.flatMap { Array($0.bytes) } == [2, 3, 4])
    }

    @Test("Ten readers of one block send one request")
    func shared() async {
        let hold = self.remote.hold(.read)
        let readers = (0..<10).map { index in Task.immediate { await self.read(index..<index + 10) } }
        await hold.reached()
        hold.release()
        for (index, reader) in readers.enumerated() {
            #expect(await reader.value == .success(pattern(10, from: index)))
        }
        #expect(self.remote.count(.read) == 1)
        #expect(self.cache.statistics.fetchCount == 1)
    }

    @Test("A reader of one block joins the run that another reader waits for")
    func partOfRun() async {
        let hold = self.remote.hold(.read)
        let long = Task.immediate { await self.read(0..<4 * block) }
        let short = Task.immediate { await self.read(block..<block + 1) }
        await hold.reached()
        hold.release()
        #expect(await short.value == .success(pattern(1, from: block)))
        #expect(await long.value == .success(pattern(4 * block)))
        #expect(self.remote.count(.read) == 1)
    }

    @Test("Bytes of two versions never mix")
    func versions() async {
        #expect(await self.read(0..<5) == .success(pattern(5)))
        self.remote.put("a", pattern(block, from: 100))
        #expect(await self.read(0..<5, of: self.source(2, size: block)) == .success(pattern(5, from: 100)))
        #expect(await self.read(0..<5) == .success(pattern(5)))
    }

    @Test("A file that is shorter than its known version was replaced: no zeros are made up")
    func shorter() async {
        self.remote.put("a", pattern(block + 10))
        #expect(await self.read(0..<2 * block) == .failure(.changedOnServer))
        // What did come is kept.
        self.remote.forgetCalls()
        #expect(await self.read(0..<block) == .success(pattern(block)))
        #expect(self.remote.calls.isEmpty)
    }

    @Test("A body too short, even one that nobody waits for, means that the version is there no more")
    func shortBody() async {
        let ends = Tally()
        let source = BlockSource(content: ContentID(rawValue: 1), size: UInt64(10 * block + 100)) {
            ends.add()
        } path: {
            path("a")
        }
        self.remote.put("a", pattern(block + 10))
        self.cache.readAhead(source, 0..<UInt64(4 * block))
        await ends.reached(1)
        #expect(await self.read(6 * block..<7 * block, of: source) == .failure(.changedOnServer))
        #expect(ends.count == 2)
        self.remote.put("a", pattern(10 * block + 100))
        let whole = pattern(8 * block + 100, from: 2 * block)
        #expect(await self.read(2 * block..<10 * block + 100, of: source) == .success(whole))
        #expect(ends.count == 2)
    }

    @Test("Blocks that an answer brought before it turned out to be of another place end the version")
    func overlongBody() async {
        let ends = Tally()
        let faulty = FaultyRemote(self.remote)
        let cache = BlockCache(remote: faulty, memoryBudget: 1 << 20)
        let source = BlockSource(content: ContentID(rawValue: 1), size: UInt64(10 * block + 100)) {
            ends.add()
        } path: {
            path("a")
        }
        faulty.fail(.read, with: .malformedAnswer("too much"))
        _ = await self.read(0..<block, of: source, from: cache)
        // Nothing was taken of that.
        #expect(ends.count == 0)
        faulty.loseAnswer(.read, with: .malformedAnswer("too much"))
        _ = await self.read(0..<block, of: source, from: cache)
        await ends.reached(1)
    }

    @Test("A failure is every waiting reader's, and the next reader asks again")
    func failure() async {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.read, with: .timedOut)
        let cache = BlockCache(remote: faulty, memoryBudget: 1 << 20)
        #expect(await self.read(0..<10, from: cache) == .failure(.remote(.timedOut)))
        #expect(await self.read(0..<10, from: cache) == .success(pattern(10)))
    }

    @Test("A file without a path is gone, and nothing is sent")
    func gone() async {
        let source = BlockSource(content: ContentID(rawValue: 1), size: 10) { nil }
        #expect(await self.read(0..<10, of: source) == .failure(.gone))
        #expect(self.remote.calls.isEmpty)
    }

    @Test("A renamed file is read at its new place")
    func renamed() async {
        let place = Mutex("a")
        let source = BlockSource(content: ContentID(rawValue: 1), size: UInt64(2 * block)) {
            path(place.withLock { $0 })
        }
        _ = await self.read(0..<10, of: source)
        place.withLock { $0 = "b" }
        self.remote.put("b", pattern(2 * block))
        #expect(await self.read(block..<block + 10, of: source) == .success(pattern(10, from: block)))
    }

    @Test("The fetch of a cancelled reader is cancelled, and the next reader begins anew")
    func cancelled() async {
        let hold = self.remote.hold(.read)
        let reader = Task.immediate { await self.read(0..<10) }
        await hold.reached()
        reader.cancel()
        #expect(await reader.value == .failure(.cancelled))
        await self.remote.ended(.read)
        hold.release()
        #expect(await self.read(0..<10) == .success(pattern(10)))
        #expect(self.remote.count(.read) == 2)
    }

    @Test("The fetch goes on when one of two readers is cancelled")
    func oneCancelled() async {
        let hold = self.remote.hold(.read)
        let first = Task.immediate { await self.read(0..<10) }
        let second = Task.immediate { await self.read(5..<15) }
        await hold.reached()
        first.cancel()
        #expect(await first.value == .failure(.cancelled))
        hold.release()
        #expect(await second.value == .success(pattern(10, from: 5)))
        #expect(self.remote.count(.read) == 1)
    }

    @Test("A cancelled reader of several blocks leaves those alone that others wait for")
    func oneCancelledOfRun() async {
        let hold = self.remote.hold(.read)
        let wide = Task.immediate { await self.read(0..<3 * block) }
        let narrow = Task.immediate { await self.read(2 * block..<2 * block + 1) }
        await hold.reached()
        wide.cancel()
        #expect(await wide.value == .failure(.cancelled))
        hold.release()
        #expect(await narrow.value == .success(pattern(1, from: 2 * block)))
    }

    @Test("Read-ahead is joined by readers, and fetches nothing twice")
    func readAhead() async {
        let hold = self.remote.hold(.read)
        self.cache.readAhead(self.source(), 0..<UInt64(4 * block))
        self.cache.readAhead(self.source(), 0..<UInt64(4 * block))
        await hold.reached()
        let reader = Task.immediate { await self.read(block..<2 * block) }
        hold.release()
        #expect(await reader.value == .success(pattern(block, from: block)))
        #expect(self.remote.calls == ["read a 0-\(4 * block)"])
    }

    @Test("Read-ahead goes on when the only reader who waits for it is cancelled")
    func readAheadStays() async {
        let hold = self.remote.hold(.read)
        self.cache.readAhead(self.source(), 0..<UInt64(block))
        await hold.reached()
        let reader = Task.immediate { await self.read(0..<10) }
        reader.cancel()
        #expect(await reader.value == .failure(.cancelled))
        hold.release()
        #expect(await self.read(0..<10) == .success(pattern(10)))
        #expect(self.remote.count(.read) == 1)
    }

    @Test("A long read comes in several requests, none of over 16 MiB")
    func longRun() async {
        self.remote.put("a", pattern(300 * block))
        let source = self.source(2, size: 300 * block)
        #expect(await self.read(0..<300 * block, of: source) == .success(pattern(300 * block)))
        #expect(
            Set(self.remote.calls) == ["read a 0-\(256 * block)", "read a \(256 * block)-\(300 * block)"]
        )
    }

    @Test(
        "Read-ahead that nobody waits for is cancelled when its reader ends, and what somebody waits for is not"
    )
    func readerEnds() async {
        self.remote.put("a", pattern(300 * block))
        let source = self.source(2, size: 300 * block)
        let hold = self.remote.hold(.read)
        let reader = self.cache.makeReader()
        // As the kernel asks at the start of a file that is read on: the rest is fetched ahead.
        let answer = OneShot<Int>()
        let outcome = reader.read(source, 0..<UInt64(4 * block)) { result in
            answer.resolve((try? result.get().reduce(0) { $0 + $1.bytes.count }) ?? -1)
        }
        guard case .pending = outcome else {
            Issue.record("not pending")
            return
        }
        await hold.reached(3)
        let other = Task.immediate { await self.read(5 * block..<5 * block + 10, of: source) }
        reader.close()
        // Of the two requests ahead the one that nobody joined.
        await self.remote.ended(.read, 1)
        hold.release()
        #expect(await other.value == .success(pattern(10, from: 5 * block)))
        #expect(await answer.wait() == 4 * block)
        #expect(self.remote.count(.read) == 3)
    }

    @Test("Four streams on a slow service fetch nothing twice and stay within the budget")
    func streams() async {
        let size = 64 * block
        self.remote.put("a", pattern(size))
        let cache = BlockCache(remote: self.remote, memoryBudget: 48 * block)
        let readers = (0..<4).map { number in
            Task {
                let reader = cache.makeReader()
                defer { reader.close() }
                let source = self.source(UInt64(number + 1), size: size)
                for start in stride(from: 0, to: size, by: 2 * block) {
                    let range = UInt64(start)..<UInt64(start + 2 * block)
                    let answer = OneShot<[UInt8]?>()
                    let outcome = reader.read(source, range) { result in
                        answer.resolve((try? result.get())?.flatMap { Array($0.bytes) })
                    }
                    var bytes: [UInt8]?
                    if case .ready(let slices) = outcome {
                        bytes = slices.flatMap { Array($0.bytes) }
                    } else {
                        bytes = await answer.wait() ?? nil
                    }
                    #expect(bytes == pattern(2 * block, from: start))
                }
            }
        }
        for reader in readers { await reader.value }
        #expect(cache.statistics.fetchedByteCount == 4 * size)
    }

    @Test("Blocks beyond the budget go, and are fetched again when they are wanted")
    func budget() async {
        let cache = BlockCache(remote: self.remote, memoryBudget: 2 * block)
        for index in 0..<4 { _ = await self.read(index * block..<index * block + 1, from: cache) }
        self.remote.forgetCalls()
        _ = await self.read(3 * block..<3 * block + 1, from: cache)
        #expect(self.remote.calls.isEmpty)
        #expect(await self.read(0..<block, from: cache) == .success(pattern(block)))
        #expect(self.remote.count(.read) == 1)
    }

    @Test("A read larger than the whole budget is answered")
    func largerThanBudget() async {
        let cache = BlockCache(remote: self.remote, memoryBudget: block)
        #expect(await self.read(0..<8 * block, from: cache) == .success(pattern(8 * block)))
    }

    @Test("Blocks go as others take of their memory, also while none comes, but keep half of it")
    func others() async {
        let used = Mutex(0)
        let cache = BlockCache(
            remote: self.remote,
            memoryBudget: 8 * block,
            usedByOthers: { _ in used.withLock { $0 } }
        )
        _ = await self.read(0..<8 * block, from: cache)
        #expect(cache.statistics.memoryByteCount == 8 * block)
        for (taken, left) in [(0, 8), (3 * block, 5), (100 * block, 4)] {
            used.withLock { $0 = taken }
            cache.makeRoomForOthers()
            #expect(cache.statistics.memoryByteCount == left * block)
        }
    }
}
