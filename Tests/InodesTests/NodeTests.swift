import Inodes
import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@Suite("Numbers, and for how long they are kept", .timeLimit(.minutes(5)))
struct NodeTests {
    @Test("A file is kept as long as the kernel knows it, and no longer")
    func forget() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        for _ in 0..<3 { #expect(fixture.namespace.countLookup(file) != nil) }
        #expect(fixture.namespace.lookupCount(of: file) == 3)
        fixture.namespace.forget(file, count: 2)
        #expect(fixture.namespace.lookupCount(of: file) == 1)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.lookupCount(of: file) == nil)
        // Its name is still known, and its number is the same when it is asked for again.
        #expect(try await fixture.inode("a") == file)
    }

    @Test("More forgetting than looking up does no harm")
    func forgetTooMuch() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        _ = fixture.namespace.countLookup(file)
        fixture.namespace.forget(file, count: .max)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.lookupCount(of: file) == nil)
        fixture.namespace.forget(.root, count: .max)
        #expect(fixture.namespace.kind(of: .root) == .directory)
    }

    @Test("A pinned file is kept although the kernel forgets it")
    func pin() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        fixture.namespace.pin(file)
        _ = fixture.namespace.countLookup(file)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.lookupCount(of: file) == 0)
        fixture.namespace.unpin(file)
        #expect(fixture.namespace.lookupCount(of: file) == nil)
    }

    @Test("A directory that the kernel forgot is still on the path of what is below it")
    func forgottenDirectory() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        let file = try await fixture.inode("a", in: directory)
        _ = fixture.namespace.countLookup(directory)
        _ = fixture.namespace.countLookup(file)
        fixture.namespace.forget(directory, count: 1)
        #expect(fixture.namespace.path(of: file) == path("d/a"))
    }

    @Test("A removed file keeps its size for who has it open, has no path, and goes with its last user")
    func removed() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        _ = fixture.namespace.countLookup(file)
        _ = try await fixture.namespace.version(of: file)
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.path(of: file) == nil)
        #expect(fixture.namespace.location(of: file) == nil)
        #expect(fixture.namespace.attributes(of: file)?.size == 7)
        #expect(fixture.namespace.freshVersion(of: file)?.size == 7)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.kind(of: file) == nil)
    }

    @Test("A name that is made again after a removal has another number")
    func madeAgain() async throws {
        let fixture = Fixture()
        let first = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        let second = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        #expect(first != second)
    }

    @Test(
        "What vanishes from a listing while the kernel knows it has no path any more, with all that is below"
    )
    func vanished() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/e/a", [])
        let directory = try await fixture.inode("d")
        let inner = try await fixture.inode("e", in: directory)
        let file = try await fixture.inode("a", in: inner)
        for inode in [directory, inner, file] { _ = fixture.namespace.countLookup(inode) }
        fixture.remote.remove("d")
        try await fixture.namespace.refresh(.root)
        for inode in [directory, inner, file] {
            #expect(fixture.namespace.path(of: inode) == nil)
            fixture.namespace.forget(inode, count: 1)
            #expect(fixture.namespace.kind(of: inode) == nil)
        }
    }

    @Test("A moved file has its new path and its number, and its old name is absent")
    func move() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.remote.makeDirectory("d")
        let file = try await fixture.inode("a")
        let directory = try await fixture.inode("d")
        try await fixture.namespace.refresh(directory)
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: directory, at: Fixture.time)
        #expect(fixture.namespace.path(of: file) == path("d/b"))
        #expect(try await fixture.inode("b", in: directory) == file)
        #expect(try await fixture.state("a") == "absent")
        #expect(fixture.remote.count(.list) == 2)
    }

    @Test("A moved directory takes along what is below it, without a new listing")
    func moveDirectory() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        let file = try await fixture.inode("a", in: directory)
        fixture.namespace.move(name("d"), in: .root, to: name("e"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.path(of: file) == path("e/a"))
        #expect(try await fixture.inode("a", in: directory) == file)
        #expect(fixture.remote.count(.list) == 2)
    }

    @Test("What a move replaces has no path any more")
    func moveOver() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.remote.put("b", [])
        let file = try await fixture.inode("a")
        let replaced = try await fixture.inode("b")
        _ = fixture.namespace.countLookup(replaced)
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.path(of: file) == path("b"))
        #expect(fixture.namespace.path(of: replaced) == nil)
        #expect(fixture.names() == ["b"])
    }

    @Test(
        "What has a name that is taken here keeps its own size and has no path any more",
        arguments: ["hide", "add", "mkdir", "unhide"]
    )
    func replacedHere(_ how: String) async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let old = try await fixture.inode("a")
        _ = fixture.namespace.countLookup(old)
        _ = try await fixture.namespace.version(of: old)
        switch how {
        case "hide":
            fixture.namespace.hide(name("a"), in: .root)
            fixture.namespace.unhide(name("a"), in: .root)
        case "unhide": fixture.namespace.unhideStagingName(name("a"), in: .root)
        case "mkdir": _ = fixture.namespace.addDirectory(name("a"), in: .root, at: Fixture.time)
        default: break
        }
        if how != "mkdir" {
            let new = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
            #expect(new != old)
            fixture.namespace.didUpload(new, size: 3, isHeld: false)
        }
        #expect(fixture.namespace.path(of: old) == nil)
        #expect(fixture.namespace.attributes(of: old)?.size == 7)
        #expect(fixture.namespace.attributes(of: old)?.isUnlinked == true)
        fixture.namespace.didUpload(old, size: 5, isHeld: false)
        #expect(fixture.namespace.known(name("a"), in: .root)?.inode != old)
        fixture.namespace.forget(old, count: 1)
        #expect(fixture.namespace.kind(of: old) == nil)
    }

    @Test("A file that is only here counts as on the service once it has the name of one that is")
    func moveLocalOver() async throws {
        let fixture = Fixture()
        fixture.remote.put("b", [])
        _ = try await fixture.inode("b")
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        #expect(!fixture.namespace.isOnServer(file))
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.isOnServer(file))
    }

    @Test("A new directory is known to be empty without asking")
    func newDirectory() async throws {
        let fixture = Fixture()
        _ = try await fixture.state("d")
        fixture.remote.makeDirectory("d")
        let directory = fixture.namespace.addDirectory(name("d"), in: .root, at: Fixture.time)
        #expect(try await fixture.state("x", in: directory) == "absent")
        #expect(fixture.namespace.isKnownEmpty(directory))
        #expect(fixture.remote.count(.list) == 1)
    }

    @Test("Attributes are the mount's until a program sets them, and then stay")
    func attributes() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.remote.makeDirectory("d")
        let file = try await fixture.inode("a")
        let directory = try await fixture.inode("d")
        let before = try #require(fixture.namespace.attributes(of: file))
        #expect(before.mode == 0o644 && before.userID == 1000 && before.groupID == 1001)
        #expect(before.modificationTime == Fixture.time && before.changeTime == Fixture.time)
        #expect(fixture.namespace.attributes(of: directory)?.mode == 0o755)
        var change = AttributeChange()
        change.mode = 0o100_755
        change.userID = 7
        change.modificationTime = FileTime(seconds: 5, nanoseconds: 6)
        let now = FileTime(seconds: 2_000_000, nanoseconds: 0)
        fixture.namespace.setAttributes(of: file, change, at: now)
        fixture.namespace.setAttributes(of: file, AttributeChange(), at: now)
        fixture.expire()
        #expect(try await fixture.inode("a") == file)
        let after = try #require(fixture.namespace.attributes(of: file))
        #expect(after.mode == 0o755 && after.userID == 7 && after.groupID == 1001)
        #expect(after.modificationTime == FileTime(seconds: 5, nanoseconds: 6) && after.changeTime == now)
    }

    @Test("Attributes that were set survive the kernel's forgetting and a rename")
    func attributesStay() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        _ = fixture.namespace.countLookup(file)
        var change = AttributeChange()
        change.mode = 0o700
        fixture.namespace.setAttributes(of: file, change, at: Fixture.time)
        fixture.namespace.forget(file, count: 1)
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        let moved = try await fixture.inode("b")
        #expect(fixture.namespace.attributes(of: moved)?.mode == 0o700)
    }

    @Test("A change of its names is a change of a directory's time")
    func directoryTimes() async throws {
        let fixture = Fixture()
        let now = FileTime(seconds: 3_000_000, nanoseconds: 0)
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: now)
        #expect(fixture.namespace.attributes(of: .root)?.modificationTime == now)
        let later = FileTime(seconds: 4_000_000, nanoseconds: 0)
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: later)
        #expect(fixture.namespace.attributes(of: .root)?.modificationTime == later)
        #expect(fixture.namespace.attributes(of: file)?.modificationTime == now)
        #expect(fixture.namespace.attributes(of: file)?.changeTime == later)
    }
}
