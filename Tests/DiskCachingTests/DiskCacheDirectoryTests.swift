import Glibc
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

@Suite("The directory of a disk cache")
struct DiskCacheDirectoryTests {
    private var fixture = CacheFixture()
    private let size = 4 * DiskBlocks.byteCount

    private func store() async {
        await self.fixture.session { $0.file(path("a"), size: self.size).store(0..<4) }
    }

    private func good(_ fixture: CacheFixture) async -> [Int] {
        await fixture.session { await $0.file(path("a"), size: self.size).good(0..<4) }
    }

    @Test("Another filesystem's blocks are not served, and are gone from then on")
    func otherFilesystem() async {
        await self.store()
        var other = self.fixture
        other.identity = "https://service.example f-2"
        #expect(await self.good(other) == [])
        #expect(self.fixture.parent.names(in: "blocks/segments") == [])
        #expect(await self.good(self.fixture) == [])
        await self.store()
        #expect(await self.good(self.fixture) == [0, 1, 2, 3])
    }

    @Test("What another version made is begun anew")
    func otherVersion() async {
        await self.store()
        self.fixture.change("blocks/FORMAT") { bytes in
            bytes = Array(String(decoding: bytes, as: UTF8.self).replacing("blocks 1", with: "blocks 2").utf8)
        }
        #expect(await self.good(self.fixture) == [])
        await self.store()
        #expect(await self.good(self.fixture) == [0, 1, 2, 3])
        #expect(self.fixture.log.text == [])
    }

    @Test(
        "A crash while a directory is begun anew leaves one that is begun anew",
        arguments: ["FORMAT.new", "FORMAT"]
    )
    func begunTwice(name: String) async {
        await self.store()
        if name == "FORMAT.new" {
            self.fixture.parent.write([1], to: "blocks/FORMAT.new")
            self.fixture.change("blocks/FORMAT") { $0.append(1) }
        } else {
            unlink(self.fixture.path + "/catalogue.sqlite")
        }
        #expect(await self.good(self.fixture) == [])
        await self.store()
        #expect(await self.good(self.fixture) == [0, 1, 2, 3])
    }

    @Test(
        "A directory of something else is left alone, and a line in the log says so",
        arguments: ["precious", "FORMAT", "catalogue.sqlite", "segments"]
    )
    func foreign(name: String) async {
        self.fixture.parent.makeDirectory("blocks")
        self.fixture.parent.write([1, 2, 3], to: "blocks/\(name)")
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<4)
            #expect(file.present(in: 0..<4) == [])
            #expect(await file.read(0..<4).isEmpty)
        }
        #expect(self.fixture.parent.names(in: "blocks") == [name])
        #expect(self.fixture.parent.bytes(of: "blocks/\(name)") == [1, 2, 3])
        #expect(self.fixture.log.text.count == 1)
        #expect(self.fixture.log.text[0].contains("no disk cache"))
    }

    @Test("Files of somebody else in a directory of ours are never taken away")
    func mixed() async {
        await self.store()
        self.fixture.parent.write([1], to: "blocks/precious")
        self.fixture.parent.write([1], to: "blocks/segments/precious")
        #expect(await self.good(self.fixture) == [0, 1, 2, 3])
        var other = self.fixture
        other.identity = "another"
        #expect(await self.good(other) == [])
        #expect(self.fixture.parent.bytes(of: "blocks/precious") == [1])
        #expect(self.fixture.parent.bytes(of: "blocks/segments/precious") == [1])
        #expect(self.fixture.log.text == [])
    }

    @Test("Where no directory can be made there is no cache, and one line in the log")
    func unmakeable() async {
        for place in ["/proc/blocks", "/dev/null/blocks", self.fixture.parent.path + "/no/such/place"] {
            let cache = self.fixture.open(at: place)
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<4)
            #expect(await file.read(0..<4).isEmpty)
            await cache.forget(path("a"))
            await cache.close()
        }
        #expect(self.fixture.log.text.count == 3)
    }

    @Test("A directory that vanishes while it is in use costs the cache, and nothing else")
    func vanished() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: 100 * DiskBlocks.byteCount)
            file.store(0..<4)
            await cache.flush()
            self.fixture.parent.removeAll()
            file.store(4..<100)
            await cache.flush()
            file.store(4..<100)
            await cache.flush()
            #expect(!(await file.good(0..<100)).contains(-1))
            #expect(cache.statistics.dropped > 0)
            await cache.forget(path("a"))
            #expect(await file.read(0..<100).isEmpty)
        }
        #expect(self.fixture.log.text.count { $0.contains("stores nothing more") } == 1)
    }

    @Test("A catalogue that somebody else holds costs blocks, not the mount")
    func locked() async throws {
        await self.store()
        let holder = try Holder(of: self.fixture.path + "/catalogue.sqlite")
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4) == [0, 1, 2, 3])
            let other = cache.file(path("b"), size: self.size)
            other.store(0..<4)
            await cache.flush()
            #expect(cache.statistics.dropped == 4)
            #expect(await other.good(0..<4) == [])
            try? holder.release()
            other.store(0..<4)
            await cache.flush()
            #expect(await other.good(0..<4) == [0, 1, 2, 3])
        }
        #expect(
            await self.fixture.session { await $0.file(path("b"), size: self.size).good(0..<4) } == [
                0, 1, 2, 3,
            ]
        )
    }
}
