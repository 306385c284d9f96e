import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

@Suite("Blocks on the disk")
struct DiskCacheTests {
    private var fixture = CacheFixture()
    /// Two whole blocks and a short one.
    private let size = 2 * DiskBlocks.byteCount + 1000

    @Test("Blocks survive the end of the process that stored them, the short last one too")
    func reopen() async {
        await self.fixture.session { $0.file(path("a/b"), size: self.size).store(0..<3) }
        await self.fixture.session { cache in
            let file = cache.file(path("a/b"), size: self.size)
            await file.load(0..<3)
            #expect(file.present(in: 0..<3) == [0, 1, 2])
            #expect(await file.good(0..<3) == [0, 1, 2])
            #expect(await cache.file(path("a/c"), size: self.size).good(0..<3) == [])
            #expect(cache.statistics.hits == 3)
            #expect(cache.statistics.misses == 3)
        }
    }

    @Test("A block is there from the moment it is stored, also before it is written")
    func queued() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(1..<2)
            #expect(await file.good(0..<3) == [1])
            #expect(file.present(in: 0..<3) == [1])
            #expect(cache.statistics.stored == 0)
            await cache.flush()
            #expect(file.present(in: 0..<3) == [1])
            #expect(await file.good(0..<3) == [1])
            #expect(cache.statistics.stored == 1)
        }
    }

    @Test("What was not looked up is unknown, not absent; what is beyond the end is absent")
    func unknown() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(file.present(in: 0..<3) == nil)
            await file.load(0..<3)
            #expect(file.present(in: 0..<3) == [])
            #expect(file.present(in: 3..<9) == [])
            #expect(await file.read(3..<9).isEmpty)
        }
    }

    @Test("An empty file has no block, and a block of another length than the file's is not stored")
    func lengths() async {
        await self.fixture.session { cache in
            let empty = cache.file(path("empty"), size: 0)
            empty.store(0, buffer(0))
            #expect(await empty.read(0..<1).isEmpty)
            let file = cache.file(path("a"), size: self.size)
            file.store(0, buffer(0, count: 1000))
            file.store(2, buffer(0))
            file.store(3, buffer(0))
            #expect(await file.read(0..<4).isEmpty)
        }
    }

    @Test(
        "Blocks that were stored in any order are read back in one call, those of other files between them too"
    )
    func order() async {
        let big = 100 * DiskBlocks.byteCount
        await self.fixture.session { cache in
            let files = ["a", "b"].map { cache.file(path($0), size: big) }
            for index in (0..<100).reversed() as [UInt64] {
                for (number, file) in files.enumerated() { file.store(index..<index + 1, from: number) }
            }
            await cache.flush()
        }
        await self.fixture.session { cache in
            for (number, name) in ["a", "b"].enumerated() {
                #expect(await cache.file(path(name), size: big).good(0..<100, from: number) == Array(0..<100))
            }
        }
    }

    @Test("A block that is written but not in the catalogue yet is there, also where nobody had looked it up")
    func written() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<2)
            await cache.onWriter { cache.drain() }
            #expect(cache.statistics.stored == 0)
            #expect(await file.good(0..<3) == [0, 1])
            await cache.flush()
            #expect(cache.statistics.stored == 2)
            #expect(await file.good(0..<3) == [0, 1])
        }
        await self.fixture.session { cache in
            #expect(await cache.file(path("a"), size: self.size).good(0..<3) == [0, 1])
        }
    }

    @Test("A block is written once, however often it is stored")
    func once() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            await file.load(0..<1)
            file.store(0..<1)
            file.store(0..<1)
            await cache.flush()
            file.store(0..<1)
            await cache.flush()
            #expect(cache.statistics.stored == 1)
        }
    }

    @Test("Small files share a segment, and all come back")
    func small() async {
        await self.fixture.session { cache in
            for number in 0..<500 {
                cache.file(path("d\(number % 7)/f\(number)"), size: 1 + UInt64(number)).store(
                    0..<1,
                    from: number
                )
            }
        }
        #expect(self.fixture.parent.names(in: "blocks/segments").count == 2)
        await self.fixture.session { cache in
            for number in 0..<500 {
                let file = cache.file(path("d\(number % 7)/f\(number)"), size: 1 + UInt64(number))
                #expect(await file.good(0..<1, from: number) == [0])
            }
        }
    }

    @Test("A file of 1 TiB of which two blocks are here takes the room of two blocks")
    func sparse() async {
        let last: UInt64 = (1 << 40) / DiskBlocks.byteCount - 1
        await self.fixture.session { cache in
            let file = cache.file(path("huge"), size: 1 << 40)
            file.store(5..<6)
            file.store(last..<last + 1)
        }
        await self.fixture.session { cache in
            let file = cache.file(path("huge"), size: 1 << 40)
            #expect(await file.good(0..<10) == [5])
            #expect(await file.good(last - 5..<last + 1) == [Int(last)])
            #expect(cache.statistics.byteCount < 3 << 20)
        }
    }

    @Test("Of a file that is read from end to end only a part stays in memory, and all of it is found again")
    func bounded() async {
        let extents = UInt64(KnownBlocks.maximumExtentCount + 10)
        let size = extents * DiskBlocks.perExtent * DiskBlocks.byteCount
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: size)
            for extent in 0..<extents {
                file.store(extent * DiskBlocks.perExtent..<extent * DiskBlocks.perExtent + 1)
            }
            await cache.flush()
            for _ in 0..<2 {
                for extent in 0..<extents {
                    let first = extent * DiskBlocks.perExtent
                    #expect(await file.good(first..<first + 2) == [Int(first)])
                }
            }
            #expect(file.present(in: 0..<1) == nil)
        }
    }

    @Test("One look at a file that nobody had read tells that nothing is there; what comes then is found")
    func firstLook() async {
        let extents = UInt64(KnownBlocks.maximumExtentCount + 10)
        let size = extents * DiskBlocks.perExtent * DiskBlocks.byteCount
        let firsts = (0..<extents).map { $0 * DiskBlocks.perExtent }
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: size)
            file.store(firsts[3]..<firsts[3] + 1)
            await cache.onWriter { cache.drain() }
            #expect(file.present(in: 0..<1) == nil)
            await file.load(0..<1)
            for first in firsts where first != firsts[3] {
                #expect(file.present(in: first..<first + 2) == [])
            }
            #expect(file.present(in: firsts[3]..<firsts[3] + 2) == [firsts[3]])
            for first in firsts { file.store(first..<first + 1) }
            await cache.flush()
            // More parts of it have blocks than are kept in memory.
            for _ in 0..<2 {
                for first in firsts { #expect(await file.good(first..<first + 2) == [Int(first)]) }
            }
        }
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: size)
            for first in firsts { #expect(await file.good(first..<first + 2) == [Int(first)]) }
        }
    }

    @Test("When too much waits to be written, a block is turned away, and nobody waits")
    func queueBound() async {
        var fixture = self.fixture
        // Full long before the writer is called, which then cannot be faster than this test.
        fixture.options.queueByteLimit = 3 * CacheFixture.block
        await fixture.session { cache in
            let isReleased = Mutable(false)
            let isBlocked = Mutable(false)
            cache.writer.async {
                isBlocked.value = true
                while !isReleased.value { usleepBriefly() }
            }
            while !isBlocked.value { await Task.yield() }
            let file = cache.file(path("a"), size: 10 * DiskBlocks.byteCount)
            let hasRoom = Mutable(0)
            cache.whenRoom { hasRoom.value += 1 }
            file.store(0..<10)
            #expect(cache.statistics.turnedAway == 7)
            #expect(hasRoom.value == 0)
            isReleased.value = true
            await cache.flush()
            #expect(hasRoom.value == 1)
            #expect(cache.statistics.stored == 3)
            #expect(await file.good(0..<10) == [0, 1, 2])
            file.store(3..<4)
            #expect(await file.good(0..<10) == [0, 1, 2, 3])
        }
    }

    @Test("A closed cache behaves as an empty one")
    func closed() async {
        let cache = self.fixture.open()
        let file = cache.file(path("a"), size: self.size)
        file.store(0..<3)
        await cache.close()
        #expect(file.present(in: 0..<3) == [])
        #expect(await file.read(0..<3).isEmpty)
        file.store(0..<3)
        await cache.forget(path("a"))
        await cache.flush()
        await cache.close()
        #expect(await file.read(0..<3).isEmpty)
        #expect(self.fixture.log.text.isEmpty)
        #expect(
            await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<3) } == [0, 1, 2]
        )
    }

    @Test("Closing ends in bounded time, even if the disk does not answer")
    func boundedClose() async {
        let cache = self.fixture.open()
        let isReleased = Mutable(false)
        cache.writer.async { while !isReleased.value { usleepBriefly() } }
        await cache.close(within: .milliseconds(1))
        isReleased.value = true
        await cache.flush()
    }

    @Test("A budget of nothing turns it off without a word, and what was there is not served later")
    func noBudget() async {
        var fixture = self.fixture
        await fixture.session { $0.file(path("a"), size: self.size).store(0..<3) }
        fixture.options.budget = 0
        await fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<3)
            #expect(file.present(in: 0..<3) == [])
        }
        #expect(fixture.log.text.isEmpty)
        #expect(await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<3) } == [])
    }
}
