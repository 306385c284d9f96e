import Glibc
import Logging
import Primitives
import RemoteAPI
import Synchronization
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import BlockCaching
@testable import DiskCaching

private let block = Int(BlockGeometry.blockByteCount)

@Suite("Blocks on the disk, beneath those in memory", .timeLimit(.minutes(5)))
struct DiskTests {
    private let remote = InMemoryRemote()
    private let directory = TemporaryDirectory()

    init() {
        self.remote.put("a", pattern(10 * block + 100))
    }

    /// What one mount does, and its successor after it.
    private func mounted<Value>(
        queueByteLimit: Int = 16 << 20,
        memoryBudget: Int = 64 << 20,
        environment: DiskEnvironment = DiskEnvironment(),
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        _ work: (BlockCache, ForgettingRemote, DiskCache) async throws -> Value
    ) async rethrows -> Value {
        let disk = DiskCache(
            directory: FilePath(self.directory.path).appending("blocks"),
            identity: "test",
            options: DiskCache.Options(
                budget: 64 << 20,
                freeSpaceFloor: 0,
                queueByteLimit: queueByteLimit
            ),
            environment: environment,
            logger: Logger(label: "test")
        )
        let remote = ForgettingRemote(self.remote, disk: disk)
        let cache = BlockCache(remote: remote, disk: disk, memoryBudget: memoryBudget, now: now)
        let value = try await work(cache, remote, disk)
        await disk.close()
        // It has what the disk did not take at once.
        return withExtendedLifetime(cache) { value }
    }

    private func source(_ content: UInt64 = 1, _ name: String = "a", size: Int? = nil) -> BlockSource {
        BlockSource(content: ContentID(rawValue: content), size: UInt64(size ?? 10 * block + 100)) {
            path(name)
        }
    }

    private func read(_ cache: BlockCache, _ range: Range<Int>, of source: BlockSource) async throws
        -> [UInt8]
    {
        let range = UInt64(range.lowerBound)..<UInt64(range.upperBound)
        return try await cache.read(source, range).flatMap { Array($0.bytes) }
    }

    @Test("What one mount has read the next one reads without a request")
    func remounted() async throws {
        let whole = 0..<10 * block + 100
        try await self.mounted { cache, _, _ in _ = try await self.read(cache, whole, of: self.source()) }
        self.remote.forgetCalls()
        try await self.mounted { cache, _, _ in
            let bytes = try await self.read(cache, whole, of: self.source(5))
            #expect(bytes == pattern(10 * block + 100))
            #expect(cache.statistics.diskHitCount == 11)
            #expect(cache.statistics.fetchedByteCount == 0)
        }
        #expect(self.remote.calls.isEmpty)
    }

    @Test("What comes faster than the disk takes it is written later, and the next mount asks for nothing")
    func burst() async throws {
        let whole = 0..<10 * block + 100
        // One waits at most, and the disk was not asked before all of them are here.
        try await self.mounted(queueByteLimit: block) { cache, _, _ in
            _ = try await self.read(cache, whole, of: self.source())
        }
        self.remote.forgetCalls()
        try await self.mounted { cache, _, _ in
            _ = try await self.read(cache, whole, of: self.source(5))
            #expect(cache.statistics.diskHitCount == 11)
        }
        #expect(self.remote.calls.isEmpty)
    }

    @Test("A stream of many times the memory waits for a disk that is not much slower, which gets each block")
    func slowDisk() async throws {
        let size = 480 * block
        self.remote.put("a", [UInt8](repeating: 7, count: size))
        var environment = DiskEnvironment()
        // Called before each piece is written.
        environment.freeByteCount = { _ in
            usleep(1000)
            return 1 << 40
        }
        // A service by whose clock each block takes a second is not faster than any disk.
        let clock = Mutex(ContinuousClock.now)
        let slow: @Sendable () -> ContinuousClock.Instant = {
            clock.withLock { now in
                now += .seconds(1)
                return now
            }
        }
        await self.mounted(
            queueByteLimit: 8 * block,
            memoryBudget: 160 * block,
            environment: environment,
            now: slow
        ) { cache, _, disk in
            let reader = cache.makeReader()
            let source = self.source(1, size: size)
            for start in stride(from: 0, to: size, by: 16 * block) {
                let answer = OneShot<Bool>()
                let range = UInt64(start)..<UInt64(start + 16 * block)
                let outcome = reader.read(source, range) { result in
                    answer.resolve((try? result.get()) != nil)
                }
                if case .ready = outcome { continue }
                #expect(await answer.wait() == true)
            }
            // Nothing waits forever either.
            reader.close()
        }
        try await self.mounted { cache, _, _ in
            _ = try await self.read(cache, 0..<size, of: self.source(5, size: size))
            #expect(cache.statistics.fetchedByteCount == 0)
        }
    }

    @Test("Of a run of which the disk has the middle, the two ends are asked for")
    func gaps() async throws {
        try await self.mounted { cache, _, _ in
            _ = try await self.read(cache, 4 * block..<6 * block, of: self.source())
        }
        self.remote.forgetCalls()
        try await self.mounted { cache, _, _ in
            let bytes = try await self.read(cache, 0..<10 * block, of: self.source())
            #expect(bytes == pattern(10 * block))
        }
        #expect(
            Set(self.remote.calls) == ["read a 0-\(4 * block)", "read a \(6 * block)-\(10 * block)"]
        )
    }

    @Test("A file of another size is another version: nothing of the old one is served")
    func resized() async throws {
        try await self.mounted { cache, _, _ in _ = try await self.read(cache, 0..<block, of: self.source()) }
        self.remote.put("a", pattern(2 * block, from: 7))
        try await self.mounted { cache, _, _ in
            let bytes = try await self.read(cache, 0..<block, of: self.source(1, size: 2 * block))
            #expect(bytes == pattern(block, from: 7))
        }
    }

    @Test("What this mount replaces, with as many bytes, is forgotten before it is replaced")
    func replaced() async throws {
        let size = 2 * block
        self.remote.put("a", pattern(size))
        try await self.mounted { cache, remote, _ in
            _ = try await self.read(cache, 0..<size, of: self.source(1, size: size))
            let upload = try await remote.beginUpload(path("a"), size: UInt64(size))
            let body = ArrayReader(pattern(size, from: 9))
            try await remote.putPart(path("a"), upload, at: 0, body: body)
            try await remote.completeUpload(path("a"), upload, size: UInt64(size), previousSize: UInt64(size))
        }
        try await self.mounted { cache, _, _ in
            let bytes = try await self.read(cache, 0..<size, of: self.source(1, size: size))
            #expect(bytes == pattern(size, from: 9))
        }
    }

    @Test(
        "What this mount deletes is forgotten, also where somebody makes a file of that name and size again"
    )
    func deleted() async throws {
        try await self.mounted { cache, remote, disk in
            _ = try await self.read(cache, 0..<block, of: self.source())
            try await remote.delete(path("a"), kind: .file)
            #expect(await !disk.holds(path("a")))
        }
        self.remote.put("a", pattern(10 * block + 100, from: 3))
        try await self.mounted { cache, _, _ in
            let bytes = try await self.read(cache, 0..<block, of: self.source())
            #expect(bytes == pattern(block, from: 3))
        }
    }

    @Test("After a rename a version's blocks are kept under its new name")
    func renamed() async throws {
        let name = Mutex("a")
        try await self.mounted { cache, _, _ in
            let source = BlockSource(content: ContentID(rawValue: 1), size: UInt64(10 * block + 100)) {
                path(name.withLock { $0 })
            }
            _ = try await self.read(cache, 0..<block, of: source)
            self.remote.put("b", pattern(10 * block + 100))
            name.withLock { $0 = "b" }
            _ = try await self.read(cache, block..<2 * block, of: source)
        }
        self.remote.forgetCalls()
        try await self.mounted { cache, _, _ in
            _ = try await self.read(cache, block..<2 * block, of: self.source(1, "b"))
        }
        #expect(self.remote.calls.isEmpty)
    }

    @Test("A block whose bytes went bad on the disk is asked for again, and never served")
    func corrupted() async throws {
        try await self.mounted { cache, _, _ in
            _ = try await self.read(cache, 0..<10 * block, of: self.source())
        }
        let segment = "blocks/segments/00000001"
        var bytes = try #require(self.directory.bytes(of: segment))
        bytes[3 * block + 17] ^= 4
        self.directory.write(bytes, to: segment)
        try await self.mounted { cache, _, disk in
            let read = try await self.read(cache, 0..<10 * block, of: self.source())
            #expect(read == pattern(10 * block))
            #expect(disk.statistics.corrupted == 1)
            #expect(cache.statistics.fetchedByteCount == block)
        }
    }
}
