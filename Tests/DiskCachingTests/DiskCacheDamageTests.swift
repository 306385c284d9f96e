import Glibc
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

@Suite("A disk cache that was damaged")
struct DiskCacheDamageTests {
    private let fixture = CacheFixture()
    private let size = 4 * DiskBlocks.byteCount

    private func store() async {
        await self.fixture.session { $0.file(path("a"), size: self.size).store(0..<4) }
    }

    @Test("A flipped bit is a miss, is counted, and the block can be stored again")
    func flippedBit() async {
        await self.store()
        self.fixture.change(self.fixture.firstSegment) { $0[2 * CacheFixture.block + 77] ^= 4 }
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [0, 1, 3])
            #expect(cache.statistics.corrupted == 1)
            #expect(cache.statistics.misses == 1)
            #expect(file.present(in: 0..<4) == [0, 1, 3])
            file.store(2..<3)
            #expect(await file.good(0..<4) == [0, 1, 2, 3])
        }
        await self.fixture.session { cache in
            #expect(await cache.file(path("a"), size: self.size).good(0..<4) == [0, 1, 2, 3])
            #expect(cache.statistics.corrupted == 0)
        }
    }

    @Test("A block in another one's place is a miss")
    func swapped() async {
        await self.store()
        self.fixture.change(self.fixture.firstSegment) { bytes in
            let block = CacheFixture.block
            let (second, third) = (Array(bytes[block..<2 * block]), Array(bytes[2 * block..<3 * block]))
            bytes.replaceSubrange(block..<3 * block, with: third + second)
        }
        await self.fixture.session { cache in
            #expect(await cache.file(path("a"), size: self.size).good(0..<4) == [0, 3])
            #expect(cache.statistics.corrupted == 2)
        }
    }

    @Test("A segment that lost its end has the blocks before it")
    func truncated() async {
        await self.store()
        self.fixture.change(self.fixture.firstSegment) { $0.removeLast(CacheFixture.block / 2) }
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [0, 1, 2])
            file.store(3..<4)
            await cache.flush()
            #expect(await file.good(0..<4) == [0, 1, 2, 3])
        }
        #expect(
            await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<4) } == [
                0, 1, 2, 3,
            ]
        )
    }

    @Test(
        "A segment that is gone, or that the disk does not give, is missing blocks",
        arguments: ["gone", "unreadable"]
    )
    func missingSegment(kind: String) async {
        await self.store()
        // A second segment, so that the first is not the one which a new mount opens to write on.
        await self.fixture.session { cache in
            let file = cache.file(path("b"), size: 64 * DiskBlocks.byteCount)
            file.store(0..<40)
        }
        let segment = self.fixture.parent.path + "/" + self.fixture.firstSegment
        unlink(segment)
        // Reading the first bytes of one's own memory is an I/O error.
        if kind == "unreadable" { symlink("/proc/self/mem", segment) }
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [])
            #expect(cache.statistics.failures == 1)
            file.store(0..<4)
            #expect(await file.good(0..<4) == [0, 1, 2, 3])
        }
        #expect(self.fixture.log.text.count == 1)
        #expect(
            await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<4) } == [
                0, 1, 2, 3,
            ]
        )
    }

    @Test("Whatever bit of the catalogue flips, no wrong block is served, and blocks can be stored")
    func flippedCatalogue() async {
        await self.store()
        let catalogue = "blocks/catalogue.sqlite"
        let original = self.fixture.parent.bytes(of: catalogue) ?? []
        var generator = SeededGenerator(seed: 7)
        // All of the bytes that say where the blocks are, and a sample of the rest.
        let interesting = original.indices.filter { original[$0] != 0 }
        #expect(interesting.count > 100)
        for _ in 0..<150 {
            let position = interesting[Int.random(in: interesting.indices, using: &generator)]
            let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
            self.fixture.parent.write(original, to: catalogue)
            self.fixture.change(catalogue) { $0[position] ^= bit }
            await self.fixture.session { cache in
                let file = cache.file(path("a"), size: self.size)
                let good = await file.good(0..<4)
                #expect(!good.contains(-1), "byte \(position), bit \(bit)")
                #expect(await cache.file(path("c"), size: self.size).good(0..<4).allSatisfy { $0 >= 0 })
                file.store(0..<4, from: 0)
                await cache.flush()
                #expect(!(await file.good(0..<4)).contains(-1), "byte \(position), bit \(bit)")
            }
            // What a broken catalogue left must not be in the way of the next mount either.
            await self.fixture.session { cache in
                let file = cache.file(path("a"), size: self.size)
                #expect(!(await file.good(0..<4)).contains(-1), "byte \(position), bit \(bit)")
            }
        }
    }

    @Test("A catalogue that is no database is begun anew, with a line in the log", arguments: [0, 100, 5000])
    func garbage(count: Int) async {
        await self.store()
        self.fixture.parent.write(pattern(count, from: 1), to: "blocks/catalogue.sqlite")
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [])
            file.store(0..<4)
            await cache.flush()
            #expect(await file.good(0..<4) == [0, 1, 2, 3])
        }
        // An empty file is an empty database.
        #expect(self.fixture.log.text.count == (count == 0 ? 0 : 1))
        #expect(
            await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<4) } == [
                0, 1, 2, 3,
            ]
        )
        // Nothing of what the lost catalogue knew stays on the disk.
        #expect(self.fixture.parent.names(in: "blocks/segments").count == 1)
    }

    @Test("A catalogue that breaks while it is in use turns the cache off, and the next mount begins anew")
    func brokenLater() async throws {
        await self.store()
        await self.fixture.session { cache in
            let database = self.fixture.parent.path + "/blocks/catalogue.sqlite"
            let descriptor = open(database, O_WRONLY | O_CLOEXEC)
            defer { close(descriptor) }
            // All pages but the one that SQLite read to open it.
            let garbage = pattern(200_000)
            #expect(pwrite(descriptor, garbage, garbage.count, 4096) == garbage.count)
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [])
            file.store(0..<4)
            await cache.flush()
            #expect(!(await file.good(0..<4)).contains(-1))
        }
        #expect(self.fixture.log.text.contains { $0.contains("off for this mount") })
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [])
            file.store(0..<4)
        }
        #expect(
            await self.fixture.session { await $0.file(path("a"), size: self.size).good(0..<4) } == [
                0, 1, 2, 3,
            ]
        )
    }

    @Test(
        "A copy of the directory at any moment of writing, as a crash would leave it, serves only what is right"
    )
    func interrupted() async throws {
        let size = 300 * DiskBlocks.byteCount
        let cache = self.fixture.open()
        let file = cache.file(path("a"), size: size)
        var found = 0
        for round in 0..<10 {
            let start = UInt64(round) * 30
            file.store(start..<start + 30)
            let flushing = Task { await cache.flush() }
            let copy = self.fixture.parent.path + "/copy-\(round)"
            try self.copy(self.fixture.path, to: copy)
            await flushing.value
            let crashed = self.fixture.open(at: copy)
            let good = await crashed.file(path("a"), size: size).good(0..<300)
            #expect(!good.contains(-1))
            found = max(found, good.count)
            crashed.file(path("a"), size: size).store(0..<10)
            await crashed.close()
            let again = self.fixture.open(at: copy)
            let later = await again.file(path("a"), size: size).good(0..<300)
            #expect(Set(later).isSuperset(of: 0..<10))
            #expect(!later.contains(-1))
            await again.close()
        }
        #expect(found >= 30)
        await cache.close()
    }

    /// Copies file by file, in no order that the writer knows.
    private func copy(_ source: String, to target: String) throws {
        let names = ["FORMAT", "catalogue.sqlite", "catalogue.sqlite-wal"]
        let prefix = self.fixture.parent.path + "/"
        let from = String(source.dropFirst(prefix.count))
        let to = String(target.dropFirst(prefix.count))
        self.fixture.parent.makeDirectory(to)
        self.fixture.parent.makeDirectory(to + "/segments")
        for name in names + self.fixture.parent.names(in: from + "/segments").map({ "segments/" + $0 }) {
            if let bytes = self.fixture.parent.bytes(of: from + "/" + name) {
                self.fixture.parent.write(bytes, to: to + "/" + name)
            }
        }
    }
}
