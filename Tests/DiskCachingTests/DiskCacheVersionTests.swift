import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

@Suite("Which version of a file a disk cache serves")
struct DiskCacheVersionTests {
    private var fixture = CacheFixture()
    private let size = 4 * DiskBlocks.byteCount

    private func store(_ paths: String...) async {
        await self.fixture.session { cache in
            for text in paths { cache.file(path(text), size: self.size).store(0..<4) }
        }
    }

    private func good(_ text: String, size: UInt64? = nil) async -> Int {
        await self.fixture.session { await $0.file(path(text), size: size ?? self.size).good(0..<4).count }
    }

    /// Opens a copy of the directory as it is now: what a crash would leave.
    private func goodAfterCrash(_ text: String) async -> Int {
        let copy = CacheFixture()
        copy.parent.makeDirectory("blocks")
        copy.parent.makeDirectory("blocks/segments")
        let segments = self.fixture.parent.names(in: "blocks/segments").map { "segments/" + $0 }
        for name in ["FORMAT", "catalogue.sqlite", "catalogue.sqlite-wal"] + segments {
            copy.parent.write(self.fixture.parent.bytes(of: "blocks/" + name) ?? [], to: "blocks/" + name)
        }
        return await copy.session { await $0.file(path(text), size: self.size).good(0..<4).count }
    }

    @Test("What was written before its file was forgotten does not come into the catalogue after that")
    func forgottenBeforeCommit() async {
        await self.fixture.session { cache in
            for name in ["a", "b"] { cache.file(path(name), size: self.size).store(0..<4) }
            await cache.onWriter { cache.drain() }
            await cache.forget(path("a"))
            #expect(await self.goodAfterCrash("a") == 0)
            #expect(await self.goodAfterCrash("b") == 4)
        }
        #expect(await self.good("a") == 0)
        #expect(await self.good("b") == 4)
    }

    // MARK: Age

    @Test("A block that is older than its time to live is a miss, and is stored anew")
    mutating func age() async {
        self.fixture.options.blockTTL = .seconds(60)
        await self.store("a")
        self.fixture.clock.value += 59
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(await file.good(0..<4).count == 4)
            self.fixture.clock.value += 1
            #expect(file.present(in: 0..<4) == [])
            #expect(await file.good(0..<4).count == 0)
            file.store(0..<2)
        }
        self.fixture.clock.value += 10
        #expect(await self.good("a") == 2)
    }

    @Test("A block that waits to be written is a miss too once it is older than its time to live")
    mutating func ageOfWaiting() async {
        self.fixture.options.blockTTL = .seconds(60)
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            await file.load(0..<4)
            file.store(0..<4)
            self.fixture.clock.value += 59
            #expect(file.present(in: 0..<4) == [0, 1, 2, 3])
            #expect(await file.good(0..<4).count == 4)
            self.fixture.clock.value += 1
            #expect(file.present(in: 0..<4) == [])
            #expect(await file.good(0..<4).count == 0)
            // Some of them, so that the others are looked for on the disk.
            #expect(await file.good(2..<7).count == 0)
        }
    }

    @Test("With no time to live nothing is stored, and nothing of what is there is served")
    mutating func noTimeToLive() async {
        await self.store("a")
        self.fixture.options.blockTTL = .zero
        await self.fixture.session { cache in
            for name in ["a", "b"] {
                let file = cache.file(path(name), size: self.size)
                file.store(0..<2)
                #expect(await file.good(0..<4) == [])
                await cache.flush()
                #expect(await file.good(0..<4) == [])
            }
            #expect(cache.statistics.stored == 0)
        }
    }

    @Test("After the clock was set back blocks are misses: nothing says how old they are")
    mutating func clockSetBack() async {
        self.fixture.options.blockTTL = .seconds(60)
        await self.store("a")
        self.fixture.clock.value -= 1
        #expect(await self.good("a") == 0)
    }

    @Test("Without a time to live blocks hold for ever")
    func noAge() async {
        await self.store("a")
        self.fixture.clock.value += 3_000_000_000
        #expect(await self.good("a") == 4)
        self.fixture.clock.value = 0
        #expect(await self.good("a") == 4)
    }

    // MARK: Size

    @Test("Of a path one version is kept: opening another drops the first, for later mounts too")
    func otherSize() async {
        await self.store("a", "b")
        #expect(await self.good("a", size: self.size + 1) == 0)
        #expect(await self.good("a") == 0)
        #expect(await self.good("b") == 4)
    }

    @Test("The version that was open ends when another is opened, and one opened again begins empty")
    func otherSizeWhileOpen() async {
        await self.fixture.session { cache in
            let first = cache.file(path("a"), size: self.size)
            first.store(0..<4)
            await cache.flush()
            let second = cache.file(path("a"), size: self.size + 1)
            #expect(first.present(in: 0..<4) == [])
            #expect(await first.read(0..<4).isEmpty)
            first.store(0..<4)
            let third = cache.file(path("a"), size: self.size)
            #expect(await third.good(0..<4) == [])
            await cache.flush()
            #expect(await second.good(0..<4) == [])
            third.store(0..<4)
            #expect(await third.good(0..<4).count == 4)
        }
        #expect(await self.good("a") == 4)
    }

    @Test("All who open a version share it")
    func shared() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            #expect(cache.file(path("a"), size: self.size) === file)
        }
    }

    // MARK: Forgetting

    @Test("A forgotten file has no blocks, open or not, and not after a crash")
    func forget() async {
        await self.store("a", "b")
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            await file.load(0..<4)
            await cache.forget(path("a"))
            #expect(await self.goodAfterCrash("a") == 0)
            #expect(await self.goodAfterCrash("b") == 4)
            #expect(file.present(in: 0..<4) == [])
            file.store(0..<4)
            await cache.flush()
            #expect(await cache.file(path("a"), size: self.size).good(0..<4) == [])
        }
        #expect(await self.good("a") == 0)
        #expect(await self.good("b") == 4)
    }

    @Test("What waits to be written when its file is forgotten is not written")
    func forgetQueued() async {
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: self.size)
            file.store(0..<4)
            await cache.forget(path("a"))
        }
        #expect(await self.good("a") == 0)
    }

    @Test("Blocks of a file that was forgotten can be stored at once")
    func storedAfterwards() async {
        await self.store("a")
        await self.fixture.session { cache in
            await cache.forget(path("a"))
            cache.file(path("a"), size: self.size).store(0..<4)
        }
        #expect(await self.good("a") == 4)
    }

    @Test("A segment of which all is forgotten is gone from the disk")
    func room() async {
        for name in ["a", "b"] {
            await self.fixture.session { cache in
                cache.file(path(name), size: 32 * DiskBlocks.byteCount).store(0..<16)
            }
        }
        #expect(self.fixture.parent.names(in: "blocks/segments") == ["00000001", "00000002"])
        await self.fixture.session { cache in
            await cache.forget(path("a"))
            #expect(self.fixture.parent.names(in: "blocks/segments") == ["00000002"])
        }
    }

    @Test("A forgotten tree takes what is below it, and no neighbour that begins like it")
    func forgetTree() async {
        await self.store("d/a", "d/e/b", "d", "d.txt", "d0", "dd/a", "c/d/a")
        await self.fixture.session { cache in
            let open = cache.file(path("d/e/b"), size: self.size)
            await cache.forgetTree(path("d"))
            #expect(open.present(in: 0..<4) == [])
        }
        for gone in ["d/a", "d/e/b", "d"] { #expect(await self.good(gone) == 0, "\(gone)") }
        for kept in ["d.txt", "d0", "dd/a", "c/d/a"] { #expect(await self.good(kept) == 4, "\(kept)") }
    }

    @Test("The root's tree is all")
    func forgetAll() async {
        await self.store("d/a", "b")
        await self.fixture.session { await $0.forgetTree(.root) }
        #expect(await self.good("d/a") == 0)
        #expect(await self.good("b") == 0)
    }

    @Test(
        "While a file is changed nothing of it is served or stored, nor what a faster reader fetched meanwhile"
    )
    func changing() async throws {
        await self.store("a")
        try await self.fixture.session { cache in
            let before = cache.file(path("a"), size: self.size)
            let meanwhile = try await cache.changing(path("a"), orThrow: .timedOut) {
                () throws(Errno) -> DiskFile in
                #expect(await self.goodAfterCrash("a") == 0)
                before.store(0..<4)
                let meanwhile = cache.file(path("a"), size: self.size)
                meanwhile.store(0..<4)
                #expect(await meanwhile.read(0..<4).isEmpty)
                return meanwhile
            }
            meanwhile.store(0..<4)
            await cache.flush()
            let after = cache.file(path("a"), size: self.size)
            #expect(await after.good(0..<4) == [])
            after.store(0..<4, from: 7)
            #expect(await after.good(0..<4, from: 7).count == 4)
        }
    }

    @Test("A catalogue that cannot forget is taken away whole")
    func forgetFails() async throws {
        await self.store("a", "b")
        let holder = try Holder(of: self.fixture.path + "/catalogue.sqlite")
        await self.fixture.session { cache in
            await cache.forget(path("a"))
            #expect(await cache.file(path("a"), size: self.size).good(0..<4) == [])
            // Its room is others' at once. This waits for that, and finds nothing that it could free.
            #expect(!cache.makeRoom(1))
            #expect(self.fixture.parent.names(in: "blocks/segments").isEmpty)
        }
        try holder.release()
        #expect(self.fixture.log.text.count { $0.contains("cannot forget") } == 1)
        #expect(await self.good("a") == 0)
        await self.store("a")
        #expect(await self.good("a") == 4)
    }

    // MARK: Renaming

    @Test("A renamed file's blocks go with it, those that wait to be written too, in place of what was there")
    func rename() async {
        await self.store("a", "b")
        await self.fixture.session { cache in
            let file = cache.file(path("a"), size: 8 * DiskBlocks.byteCount)
            file.store(0..<4)
            await cache.flush()
            file.store(4..<6)
            await cache.rename(path("a"), to: path("b"))
            #expect(file.present(in: 0..<8) == [])
            let renamed = cache.file(path("b"), size: 8 * DiskBlocks.byteCount)
            #expect(await renamed.good(0..<8) == [0, 1, 2, 3, 4, 5])
            #expect(cache.statistics.corrupted == 0)
        }
        #expect(await self.good("a") == 0)
        #expect(await self.good("b") == 0)
    }

    @Test("A renamed directory's files go with it, and no neighbour that begins like it")
    func renameTree() async {
        await self.store("d/a", "d/\u{301}/b", "d.txt", "new/a", "new.txt")
        await self.fixture.session { await $0.rename(path("d"), to: path("new")) }
        for moved in ["new/a", "new/\u{301}/b"] { #expect(await self.good(moved) == 4, "\(moved)") }
        for gone in ["d/a", "d/\u{301}/b"] { #expect(await self.good(gone) == 0, "\(gone)") }
        for kept in ["d.txt", "new.txt"] { #expect(await self.good(kept) == 4, "\(kept)") }
    }
}
