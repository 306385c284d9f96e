import Inodes
import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing
import WireFormat

@Suite("What programs set, beyond the mount", .timeLimit(.minutes(5)))
struct RememberedAttributesTests {
    private static let then = FileTime(seconds: 2_000_000, nanoseconds: 7)
    private static let later = FileTime(seconds: 3_000_000, nanoseconds: 8)

    /// Sets a mode and a time.
    private func set(_ inode: InodeNumber, _ fixture: Fixture, mode: UInt32 = 0o700) {
        var change = AttributeChange()
        change.mode = mode
        change.modificationTime = Self.then
        fixture.namespace.setAttributes(of: inode, change, at: Self.later)
    }

    /// Looks a name up as the kernel does, and asks for its size.
    private func stat(_ text: String, in parent: InodeNumber = .root, _ fixture: Fixture) async throws
        -> FileAttributes
    {
        let inode = try await fixture.inode(text, in: parent)
        if fixture.namespace.kind(of: inode) == .file { _ = try await fixture.namespace.version(of: inode) }
        return try #require(fixture.namespace.attributes(of: inode))
    }

    @Test("A file and a directory have after a remount what was set of them, and their numbers")
    func remount() async throws {
        let store = VolatileAttributes()
        let first = Fixture(attributes: store)
        first.remote.put("d/a", pattern(7))
        first.remote.put("d/z", pattern(7))
        let directory = try await self.stat("d", first).inode
        let file = try await self.stat("a", in: directory, first).inode
        for inode in [directory, file] { self.set(inode, first) }
        first.namespace.saveAttributes()
        let second = Fixture(attributes: store, remote: first.remote)
        _ = try await self.stat("x", second, isThere: false)
        let again = try await self.stat("d", second)
        #expect(again.inode == directory)
        #expect(again.mode == 0o700 && again.modificationTime == Self.then && again.changeTime == Self.later)
        let inner = try await self.stat("a", in: directory, second)
        #expect(inner.inode == file)
        #expect(inner.mode == 0o700 && inner.modificationTime == Self.then && inner.changeTime == Self.later)
        let other = try await self.stat("z", in: directory, second)
        #expect(other.mode == 0o644 && other.modificationTime == Fixture.time)
        #expect(other.inode.rawValue > max(file.rawValue, directory.rawValue))
    }

    private func stat(_ text: String, _ fixture: Fixture, isThere: Bool) async throws {
        #expect(try await fixture.state(text) == (isThere ? "file" : "absent"))
    }

    @Test("What was set of the root comes back")
    func root() async throws {
        let store = VolatileAttributes()
        let first = Fixture(attributes: store)
        self.set(.root, first)
        first.namespace.saveAttributes()
        let second = Fixture(attributes: store)
        await second.namespace.recallAttributes(of: .root)
        #expect(second.namespace.attributes(of: .root)?.mode == 0o700)
    }

    @Test(
        "What was set of a file that has another size by now is forgotten, and its time is that of the news"
    )
    func otherSize() async throws {
        let store = VolatileAttributes()
        let first = Fixture(attributes: store)
        first.remote.put("a", pattern(7))
        self.set(try await self.stat("a", first).inode, first)
        first.namespace.saveAttributes()
        first.remote.put("a", pattern(8))
        let second = Fixture(attributes: store, remote: first.remote)
        let seen = try await self.stat("a", second)
        #expect(seen.mode == 0o644)
        #expect(seen.modificationTime > FileTime(seconds: 1_600_000_000, nanoseconds: 0))
        second.namespace.saveAttributes()
        let third = Fixture(attributes: store, remote: first.remote)
        #expect(try await self.stat("a", third).modificationTime == seen.modificationTime)
    }

    @Test(
        "A renamed directory takes along what is remembered of all below it, also if it was never looked at"
    )
    func renamed() async throws {
        let store = VolatileAttributes()
        let first = Fixture(attributes: store)
        first.remote.put("d/e/a", pattern(7))
        let directory = try await self.stat("d", first).inode
        let inner = try await self.stat("e", in: directory, first).inode
        self.set(try await self.stat("a", in: inner, first).inode, first)
        first.namespace.saveAttributes()
        let second = Fixture(attributes: store, remote: first.remote)
        _ = try await self.stat("d", second)
        second.namespace.move(name("d"), in: .root, to: name("f"), in: .root, at: Fixture.time)
        #expect(await store.attributes(of: path("d/e/a")) == nil)
        #expect(await store.attributes(of: path("f/e/a"))?.set.mode == 0o700)
    }

    @Test("A name that is gone leaves nothing: not by unlink, nor by rmdir, nor by somebody else's doing")
    func gone() async throws {
        let store = VolatileAttributes()
        let fixture = Fixture(attributes: store)
        for text in ["a", "b", "d/e"] { fixture.remote.put(text, pattern(7)) }
        for text in ["a", "b", "d"] { self.set(try await self.stat(text, fixture).inode, fixture) }
        self.set(try await self.stat("e", in: try await fixture.inode("d"), fixture).inode, fixture)
        fixture.namespace.saveAttributes()
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        fixture.namespace.remove(name("d"), in: .root, at: Fixture.time)
        fixture.remote.remove("b")
        try await fixture.namespace.refresh(.root)
        for text in ["a", "b", "d", "d/e"] {
            #expect(await store.attributes(of: path(text)) == nil, "\(text)")
        }
    }

    @Test("What was deleted elsewhere between two mounts is forgotten, once all that waits here was added")
    func unlisted() async throws {
        let store = VolatileAttributes()
        let first = Fixture(attributes: store)
        first.remote.put("a", pattern(7))
        self.set(try await self.stat("a", first).inode, first)
        first.namespace.saveAttributes()
        first.remote.remove("a")
        let second = Fixture(attributes: store, remote: first.remote)
        try await second.namespace.refresh(.root)
        #expect(await store.attributes(of: path("a")) != nil)
        let third = Fixture(attributes: store, remote: first.remote)
        third.namespace.forgetUnlisted()
        try await third.namespace.refresh(.root)
        #expect(await store.attributes(of: path("a")) == nil)
    }

    @Test("A file that waits for its upload is remembered with the size that it gets, once that is known")
    func unsent() async throws {
        let store = VolatileAttributes()
        let fixture = Fixture(attributes: store)
        _ = try await fixture.state("a")
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Self.then)
        fixture.namespace.didWrite(file, size: 5, at: Self.then)
        self.set(file, fixture)
        fixture.namespace.saveAttributes()
        #expect(await store.attributes(of: path("a")) == nil)
        fixture.namespace.saveAttributes(of: file, size: 5)
        #expect(await store.attributes(of: path("a"))?.set.size == 5)
        fixture.namespace.didWrite(file, size: 9, at: Self.then)
        fixture.namespace.saveAttributes()
        #expect(await store.attributes(of: path("a"))?.set.size == 5)
        fixture.namespace.didUpload(file, size: 9, isHeld: false)
        let remembered = await store.attributes(of: path("a"))
        #expect(remembered?.set.size == 9 && remembered?.set.mode == 0o700)
    }

    @Test("What is set while a directory is listed counts, and not what was remembered before")
    func setMeanwhile() async throws {
        let store = HeldAttributes()
        let first = Fixture(attributes: store.inner)
        first.remote.put("a", pattern(7))
        self.set(try await self.stat("a", first).inode, first)
        first.namespace.saveAttributes()
        let fixture = Fixture(attributes: store, remote: first.remote)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await store.hold.reached()
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Self.later)
        store.hold.release()
        try await listing.value
        #expect(fixture.namespace.attributes(of: file)?.modificationTime == Self.later)
        #expect(fixture.namespace.attributes(of: file)?.mode == 0o644)
    }

    @Test("Where the disk does not tell what was set of names, listing them fails and loses nothing")
    func hangingStore() async throws {
        let store = HeldAttributes()
        let first = Fixture(attributes: store.inner)
        first.remote.put("a", pattern(7))
        self.set(try await self.stat("a", first).inode, first)
        first.namespace.saveAttributes()
        let fixture = Fixture(attributes: store, recallLimit: .milliseconds(10), remote: first.remote)
        let error = await failure { () async throws(RemoteError) in
            try await fixture.namespace.ensureListed(.root)
        }
        guard case .unavailable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(fixture.names().isEmpty)
        store.hold.release()
        // On a busy machine what answers at once may come too late for this limit as well.
        var mode: UInt32?
        for _ in 0..<1000 where mode == nil {
            mode = try? await self.stat("a", fixture).mode
        }
        #expect(mode == 0o700)
    }

    @Test("A directory is asked for what is remembered of its names once, and not again with each listing")
    func askedOnce() async throws {
        let store = HeldAttributes()
        store.hold.release()
        let fixture = Fixture(attributes: store)
        fixture.remote.put("a", pattern(7))
        for _ in 0..<3 { try await fixture.namespace.refresh(.root) }
        #expect(store.asked.count == 1)
    }

    @Test("Changes are saved within seconds without anybody's asking")
    func lazily() async throws {
        let store = HeldAttributes()
        let fixture = Fixture(attributes: store)
        self.set(.root, fixture)
        await store.stored.reached(1)
        #expect(await store.inner.attributes(of: .root)?.set.mode == 0o700)
    }
}

/// A store whose answers about directories wait to be released.
private final class HeldAttributes: AttributeStore {
    let inner = VolatileAttributes()
    let hold = Hold()
    let asked = Tally()
    let stored = Tally()

    var firstFreeInode: UInt64 { self.inner.firstFreeInode }

    func attributes(in directory: RemotePath) async -> [FileName: RememberedAttributes] {
        let remembered = await self.inner.attributes(in: directory)
        self.asked.add()
        _ = await self.hold.pass()
        return remembered
    }

    func attributes(of path: RemotePath) async -> RememberedAttributes? {
        await self.inner.attributes(of: path)
    }

    func put(_ attributes: RememberedAttributes, of path: RemotePath) {
        self.inner.put(attributes, of: path)
        self.stored.add()
    }

    func remove(_ path: RemotePath) { self.inner.remove(path) }

    func move(_ path: RemotePath, to newPath: RemotePath) { self.inner.move(path, to: newPath) }
}
