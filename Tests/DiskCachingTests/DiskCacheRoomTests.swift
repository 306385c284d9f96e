import Glibc
import Primitives
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

@Suite("The room that a disk cache takes")
struct DiskCacheRoomTests {
    private var fixture = CacheFixture()
    private let size = 1024 * DiskBlocks.byteCount

    init() {
        self.fixture.options.budget = 16 << 20
        self.fixture.segmentByteCount = 512 << 10
        self.fixture.options.queueByteLimit = 2 << 20
    }

    /// What the directory takes, as `du` counts it.
    private func bytesOnDisk() -> Int {
        let files = self.fixture.parent.names(in: "blocks").map { "blocks/" + $0 }
        let segments = self.fixture.parent.names(in: "blocks/segments").map { "blocks/segments/" + $0 }
        return (files + segments).reduce(0) { sum, name in
            var status = stat()
            guard stat(self.fixture.parent.path + "/" + name, &status) == 0 else { return sum }
            return sum + Int(status.st_size)
        }
    }

    /// Stores blocks, never more at once than the queue takes.
    private func fill(_ file: DiskFile, _ blocks: Range<UInt64>, _ cache: DiskCache) async {
        for start in stride(from: blocks.lowerBound, to: blocks.upperBound, by: 16) {
            file.store(start..<min(start + 16, blocks.upperBound))
            await cache.flush()
        }
    }

    private func isWithinBudget(_ cache: DiskCache) -> Bool {
        self.bytesOnDisk() <= 16 << 20 && cache.statistics.byteCount <= 16 << 20
    }

    @Test("The budget holds while a file many times as large is stored, and the newest blocks are there")
    func budget() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            for start in stride(from: UInt64(0), to: 1024, by: 16) {
                file.store(start..<start + 16)
                await cache.flush()
                #expect(self.isWithinBudget(cache))
            }
            #expect(cache.statistics.stored == 1024)
            #expect(cache.statistics.evicted > 700)
            #expect(await file.good(0..<16) == [])
            #expect(await file.good(1008..<1024) == Array(1008..<1024))
            #expect(await file.good(0..<1024).count == 1024 - cache.statistics.evicted)
        }
        await self.fixture.session { cache in
            #expect(await cache.file(path("a"), size: self.size).good(1008..<1024) == Array(1008..<1024))
        }
    }

    @Test("The budget holds with tens of thousands of tiny files, whose catalogue counts too")
    func tinyFiles() async {
        await self.fixture.session { cache in
            for batch in 0..<40 {
                for number in 0..<500 {
                    cache.file(path("directory-\(batch)/a rather long name of a file \(number)"), size: 10)
                        .store(0..<1)
                }
                await cache.flush()
                #expect(self.isWithinBudget(cache))
            }
            #expect(cache.statistics.stored == 20_000)
            #expect(cache.statistics.evicted > 10_000)
        }
    }

    @Test(
        "A budget that is smaller than the last one holds from the start, also if very much is to go",
        arguments: [512 << 10, 128 << 10]
    )
    func smallerBudget(segmentByteCount: Int) async {
        var fixture = self.fixture
        fixture.segmentByteCount = segmentByteCount
        await fixture.session { $0.file(path("a"), size: self.size).store(0..<32) }
        await fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            await self.fill(file, 0..<192, cache)
        }
        #expect(self.bytesOnDisk() > 6 << 20)
        fixture.options.budget = 6 << 20
        await fixture.session { cache in
            // What is done in several steps has the writer's thread between others.
            for _ in 0..<10 { await cache.flush() }
            // The catalogue's log has grown by what was taken out.
            #expect(self.bytesOnDisk() <= (6 << 20) + (128 << 10))
        }
    }

    @Test("A scan of many times the budget leaves what was read twice, over a remount too")
    func scan() async {
        await self.fixture.session { cache in
            let hot = cache.file(path("hot"), size: 64 * DiskBlocks.byteCount)
            hot.store(0..<32)
            await cache.flush()
            #expect(await hot.good(0..<32).count == 32)
        }
        await self.fixture.session { cache in
            let scanned = cache.file(path("scanned"), size: self.size)
            await self.fill(scanned, 0..<1024, cache)
            #expect(await cache.file(path("hot"), size: 64 * DiskBlocks.byteCount).good(0..<32).count == 32)
            #expect(await scanned.good(0..<16) == [])
        }
    }

    @Test("What was read back last is kept over what was read back before it")
    func recency() async {
        await self.fixture.session { cache in
            let files = (0..<3).map { cache.file(path("f\($0)"), size: self.size) }
            for file in files {
                await self.fill(file, 0..<64, cache)
            }
            // 4 MiB each: together they are more than the three quarters that can be protected.
            for file in [files[1], files[2], files[0]] { #expect(await file.good(0..<64).count == 64) }
            let scanned = cache.file(path("scanned"), size: self.size)
            await self.fill(scanned, 0..<512, cache)
            #expect(await files[0].good(0..<64).count == 64)
            #expect(await files[1].good(0..<64).count < 64)
        }
    }

    @Test("Above the floor of free space blocks are stored; below it old ones go, or nothing is stored")
    func floor() async {
        var fixture = self.fixture
        fixture.options.freeSpaceFloor = 100 << 20
        await fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<16)
            await cache.flush()
            #expect(cache.statistics.stored == 16)
            fixture.free.value = (100 << 20) + (300 << 10)
            file.store(16..<32)
            await cache.flush()
            #expect(cache.statistics.stored == 16)
            #expect(cache.statistics.dropped == 16)
            #expect(cache.statistics.evicted > 0)
            fixture.free.value = (100 << 20) + (4 << 20)
            file.store(32..<48)
            await cache.flush()
            #expect(cache.statistics.stored == 32)
            #expect(await file.good(32..<48).count == 16)
        }
        #expect(fixture.log.text.count == 1)
    }

    @Test("Where a quota is used up old blocks go, whatever room the disk has")
    func quota() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            await self.fill(file, 0..<64, cache)
            self.fixture.free.value = 1 << 40
            #expect(cache.makeRoom(1 << 20))
            #expect(cache.statistics.evicted > 0)
            #expect(await file.good(0..<64).count == 64 - cache.statistics.evicted)
        }
    }

    @Test("Without a floor that was chosen a twentieth of the disk stays free, and 1 GiB at most")
    func defaultFloor() throws {
        let total = try #require(DiskSpace(of: self.fixture.parent.path)).byteCount
        #expect(self.fixture.open().freeSpaceFloor == min(1 << 30, total / 20))
    }

    @Test("A full disk costs the blocks that do not fit, and is said once")
    func full() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            // Every write there fails with ENOSPC. The cache has begun, and looks at its directory no more.
            await cache.flush()
            symlink("/dev/full", self.fixture.parent.path + "/" + self.fixture.firstSegment)
            for start in stride(from: UInt64(0), to: 24, by: 4) {
                file.store(start..<start + 4)
                await cache.flush()
            }
            #expect(cache.statistics.dropped == 24)
            #expect(cache.statistics.failures == 6)
            #expect(await file.good(0..<24) == [])
        }
        #expect(self.fixture.log.text.count == 1)
    }

    @Test(
        "Where a disk cannot be written nothing more is stored, which is said once, and what is there is served"
    )
    func broken() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(100..<108)
            await cache.flush()
            // Every write there fails, and not for want of room.
            symlink("/proc/self/cmdline", self.fixture.path + "/segments/00000002")
            for _ in 0..<3 {
                file.store(0..<4)
                await cache.flush()
            }
            #expect(cache.statistics.dropped == 4)
            #expect(await file.good(0..<108) == Array(100..<108))
            await cache.forget(path("a"))
            #expect(await cache.file(path("a"), size: self.size).good(0..<108) == [])
        }
        #expect(self.fixture.log.text.count == 1)
    }
}
