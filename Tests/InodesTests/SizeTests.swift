import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("Sizes, which cost a request each", .timeLimit(.minutes(5)))
struct SizeTests {
    @Test("A size is asked for once inside the time to live")
    func once() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        #expect(fixture.namespace.freshVersion(of: file) == nil)
        #expect(try await fixture.namespace.version(of: file).size == 7)
        #expect(try await fixture.namespace.version(of: file).size == 7)
        #expect(fixture.remote.count(.size) == 1)
        fixture.clock.advance(by: .seconds(4))
        #expect(fixture.namespace.freshVersion(of: file)?.validFor == .seconds(6))
        fixture.clock.advance(by: .seconds(6))
        _ = try await fixture.namespace.version(of: file)
        #expect(fixture.remote.count(.size) == 2)
    }

    @Test("Who asks for one file's size at once shares one request")
    func shared() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.size)
        let readers = (0..<10).map { _ in Task.immediate { try await fixture.namespace.version(of: file) } }
        await hold.reached()
        hold.release()
        for reader in readers { #expect(try await reader.value.size == 7) }
        #expect(fixture.remote.count(.size) == 1)
    }

    @Test("A size that differs is another version, an equal one is the same")
    func versions() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let first = try await fixture.namespace.version(of: file).content
        fixture.expire()
        _ = try await fixture.inode("a")
        #expect(try await fixture.namespace.version(of: file).content == first)
        fixture.remote.put("a", pattern(8))
        fixture.expire()
        _ = try await fixture.inode("a")
        let second = try await fixture.namespace.version(of: file)
        #expect(second.content != first && second.size == 8)
    }

    @Test("A size asked for before an upload of ours is not stored after it")
    func epoch() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.size, .beforeAnswering)
        let probe = Task { try await fixture.namespace.version(of: file) }
        await hold.reached()
        let content = fixture.namespace.didUpload(file, size: 100, isHeld: false)
        hold.release()
        #expect(try await probe.value.size == 100)
        #expect(fixture.namespace.freshVersion(of: file)?.size == 100)
        #expect(fixture.namespace.freshVersion(of: file)?.content == content)
    }

    @Test("A size asked for before a rename is not given to who has the old name now")
    func epochOfName() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.size, .beforeAnswering)
        let probe = Task { try? await fixture.namespace.version(of: file) }
        await hold.reached()
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        let other = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        hold.release()
        _ = await probe.value
        #expect(fixture.namespace.knownVersion(of: other)?.size == 0)
    }

    @Test("A file that is renamed while its size is asked for is asked for under its new name")
    func renamedMeanwhile() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.size)
        let probe = Task { try await fixture.namespace.version(of: file).size }
        await hold.reached()
        fixture.remote.remove("a")
        fixture.remote.put("b", pattern(7))
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        hold.release()
        #expect(try await probe.value == 7)
    }

    @Test("A failure of the service is a failure, and the size is asked for again")
    func failed() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        fixture.faulty.fail(.size, with: .unavailable("500"))
        let error = await failure { () async throws(RemoteError) in
            try await fixture.namespace.version(of: file)
        }
        #expect(error == .unavailable("500"))
        #expect(try await fixture.namespace.version(of: file).size == 7)
    }

    @Test("A file that was deleted on the service while bytes of it wait is outdated there")
    func deletedWhileHeld() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        _ = try await fixture.namespace.version(of: file)
        fixture.namespace.didWrite(file, size: 7, at: Fixture.time)
        fixture.remote.remove("a")
        fixture.expire()
        try await fixture.namespace.refresh(.root)
        #expect(fixture.outdated.all == ["a"])
    }

    @Test("A version that was seen to be outdated is another one after that, though its size is the same")
    func ended() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let inode = try await fixture.inode("a")
        let file = try #require(fixture.namespace.sibling(inode))
        let version = try await fixture.namespace.version(of: inode)
        fixture.namespace.endVersion(version.content, of: file)
        #expect(fixture.outdated.all == ["a"])
        #expect(fixture.namespace.freshVersion(of: inode) == nil)
        let next = try await fixture.namespace.version(of: inode)
        #expect(next.content != version.content && next.size == 7)
        // Others hear of the same late.
        fixture.namespace.endVersion(version.content, of: file)
        #expect(fixture.namespace.freshVersion(of: inode)?.content == next.content)
        #expect(fixture.remote.count(.size) == 2)
        #expect(fixture.outdated.all == ["a"])
    }

    @Test("The kernel keeps its pages of a version as long as it is served the same one")
    func served() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let content = try await fixture.namespace.version(of: file).content
        #expect(!fixture.namespace.serve(content, of: file))
        #expect(fixture.namespace.serve(content, of: file))
        let uploaded = fixture.namespace.didUpload(file, size: 8, isHeld: false)
        #expect(fixture.namespace.serve(uploaded, of: file))
    }

    @Test("A listing may tell the kernel of a file only if its size is known and fresh")
    func dirents() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        fixture.remote.makeDirectory("d")
        try await fixture.namespace.refresh(.root)
        let entries = fixture.namespace.snapshot(.root)
        #expect(fixture.namespace.countKnownDirent(entries[0], in: .root) == nil)
        #expect(fixture.namespace.lookupCount(of: entries[0].inode) == nil)
        let directory = fixture.namespace.countKnownDirent(entries[1], in: .root)
        #expect(directory?.attributes.kind == .directory)
        #expect(fixture.namespace.lookupCount(of: entries[1].inode) == 1)
        _ = try await fixture.inode("a")
        _ = try await fixture.namespace.version(of: entries[0].inode)
        fixture.clock.advance(by: .seconds(3))
        let file = fixture.namespace.countKnownDirent(entries[0], in: .root)
        #expect(file?.attributes.size == 7)
        #expect(file?.nameValidFor == .seconds(7) && file?.attributesValidFor == .seconds(7))
    }

    @Test(
        "Of a file that never changes the size is asked for once and the version stays, whatever the time to live"
    )
    func immutable() async throws {
        let fixture = Fixture(timeToLive: .zero, isImmutable: true)
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let version = try await fixture.namespace.version(of: file)
        for _ in 0..<3 {
            fixture.clock.advance(by: .seconds(100_000))
            #expect(try await fixture.inode("a") == file)
            #expect(try await fixture.namespace.version(of: file).content == version.content)
        }
        #expect(fixture.remote.count(.size) == 1)
        #expect(fixture.remote.count(.list) == 4)
        fixture.namespace.didUpload(file, size: 9, isHeld: false)
        #expect(fixture.namespace.freshVersion(of: file)?.size == 9)
        #expect(fixture.namespace.freshVersion(of: file)?.content != version.content)
    }
}
