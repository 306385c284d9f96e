import Inodes
import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing
import WireFormat

/// What the kernel knows of names, and forgets when it is told to.
private final class Kernel: Sendable {
    let fixture: Fixture
    private let calls = Atomic<Int>(0)

    init(_ fixture: Fixture) {
        self.fixture = fixture
        fixture.namespace.whenCrowded { self.calls.add(1, ordering: .relaxed) }
    }

    /// How often it was called to forget something.
    var callCount: Int { self.calls.load(ordering: .relaxed) }

    func lookup(_ text: String, in parent: InodeNumber = .root) async throws -> InodeNumber {
        let inode = try await self.fixture.inode(text, in: parent)
        #expect(self.fixture.namespace.countLookup(inode) != nil)
        return inode
    }

    /// Looks all names of a directory up.
    func lookupAll(_ count: Int, in directory: InodeNumber) async throws -> [InodeNumber] {
        var inodes: [InodeNumber] = []
        for index in 0..<count { inodes.append(try await self.lookup("file-\(index)", in: directory)) }
        return inodes
    }

    /// Takes what it is to forget.
    func take(sparingUsed: Bool = false) -> [InodeNumber] {
        var taken: [InodeNumber] = []
        let namespace = self.fixture.namespace
        while let inodes = namespace.takeForgettable(sparingUsed: sparingUsed) { taken += inodes }
        return taken
    }

    /// Takes it and forgets it, if it was called to.
    @discardableResult
    func forget(after callCount: Int) -> [InodeNumber] {
        guard self.callCount > callCount else { return [] }
        let taken = self.take()
        for inode in taken { self.fixture.namespace.forget(inode, count: 1) }
        return taken
    }
}

@Suite("What the kernel is made to forget, so that its names keep to a budget", .timeLimit(.minutes(5)))
struct ForgettingTests {
    /// What a node with a short name takes, in bytes, at most.
    private static let nodeByteCount = 120

    @Test("Within the budget the kernel is to forget nothing")
    func withinBudget() async throws {
        let fixture = Fixture(nodeBudget: 1000 * Self.nodeByteCount)
        let kernel = Kernel(fixture)
        fixture.remote.makeWideDirectory("d", count: 900)
        _ = try await kernel.lookupAll(900, in: try await kernel.lookup("d"))
        #expect(kernel.callCount == 0)
        #expect(kernel.take().isEmpty)
    }

    @Test("A walk that looks up 100,000 names in many directories keeps few of them, and the last ones")
    func walkMemoryStaysBounded() async throws {
        let fixture = Fixture(nodeBudget: 1000 * Self.nodeByteCount)
        let kernel = Kernel(fixture)
        for index in 0..<200 { fixture.remote.makeWideDirectory("d\(index)", count: 500) }
        for index in 0..<200 {
            let callCount = kernel.callCount
            let directory = try await kernel.lookup("d\(index)")
            let files = try await kernel.lookupAll(500, in: directory)
            kernel.forget(after: callCount)
            #expect(fixture.namespace.nodeCount <= 1700)
            #expect(files.filter { fixture.namespace.lookupCount(of: $0) == nil } == [])
        }
        #expect(fixture.namespace.nodeCount > 500)
        #expect(kernel.callCount < 300)
    }

    @Test("Of one directory with 50,000 names the first looked up go first, and each is handed out once")
    func wideDirectoryMemoryStaysBounded() async throws {
        let fixture = Fixture(nodeBudget: 1000 * Self.nodeByteCount)
        let kernel = Kernel(fixture)
        fixture.remote.makeWideDirectory("d", count: 50_000)
        let directory = try await kernel.lookup("d")
        try await fixture.namespace.refresh(directory)
        var taken: [InodeNumber] = []
        for name in fixture.namespace.snapshot(directory).map(\.name.string) {
            let callCount = kernel.callCount
            let file = try await kernel.lookup(name, in: directory)
            taken += kernel.forget(after: callCount)
            #expect(fixture.namespace.lookupCount(of: file) == 1)
        }
        #expect(fixture.namespace.nodeCount <= 1700)
        #expect(taken.count > 48_000)
        #expect(Set(taken).count == taken.count)
        #expect(taken == taken.sorted { $0.rawValue < $1.rawValue })
    }

    @Test("The names of the directories least recently used go first, and no more than must")
    func leastRecentlyUsed() async throws {
        let fixture = Fixture(nodeBudget: 1000 * Self.nodeByteCount)
        let kernel = Kernel(fixture)
        for text in ["a", "b", "c"] { fixture.remote.makeWideDirectory(text, count: 400) }
        let a = try await kernel.lookup("a")
        let b = try await kernel.lookup("b")
        let c = try await kernel.lookup("c")
        let ofA = Set(try await kernel.lookupAll(400, in: a))
        let ofB = Set(try await kernel.lookupAll(400, in: b))
        _ = try await fixture.state("file-1", in: a)
        let ofC = Set(try await kernel.lookupAll(400, in: c))
        #expect(kernel.callCount == 1)
        let taken = kernel.take()
        #expect(taken.count < 900)
        #expect(ofB.isSubset(of: taken))
        #expect(ofC.isDisjoint(with: taken))
        #expect(ofA.intersection(taken).isEmpty || taken.count > 400)
    }

    @Test("What is open, what waits to be uploaded and what is on the path of another name stay")
    func inUse() async throws {
        let fixture = Fixture(nodeBudget: 1)
        let kernel = Kernel(fixture)
        for file in ["d/open", "d/held", "d/old", "d/e/open", "d/f/old"] { fixture.remote.put(file, [1]) }
        let d = try await kernel.lookup("d")
        let open = try await kernel.lookup("open", in: d)
        fixture.namespace.pin(open)
        let held = try await kernel.lookup("held", in: d)
        fixture.namespace.setHeld(held, true)
        let old = try await kernel.lookup("old", in: d)
        let e = try await kernel.lookup("e", in: d)
        fixture.namespace.pin(try await kernel.lookup("open", in: e))
        let f = try await kernel.lookup("f", in: d)
        let oldest = try await kernel.lookup("old", in: f)
        // Made here, it is not in the last listing.
        let new = fixture.namespace.addLocalFile(name("new"), in: d, at: Fixture.time)
        _ = fixture.namespace.countLookup(new)
        #expect(Set(kernel.take()) == [old, oldest])
        for inode in [old, oldest] { fixture.namespace.forget(inode, count: 1) }
        // With nothing in it, its directory may go, too.
        _ = try await kernel.lookup("old", in: d)
        #expect(kernel.take().contains(f))
        #expect(fixture.namespace.path(of: open) == path("d/open"))
    }

    @Test("What was handed out stays as it is until the kernel has forgotten it")
    func handedOut() async throws {
        let fixture = Fixture(nodeBudget: 1)
        let kernel = Kernel(fixture)
        fixture.remote.put("d/a", pattern(7))
        let directory = try await kernel.lookup("d")
        let file = try await kernel.lookup("a", in: directory)
        let version = try await fixture.namespace.version(of: file)
        #expect(kernel.take().contains(file))
        #expect(fixture.namespace.path(of: file) == path("d/a"))
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.lookupCount(of: file) == nil)
        let again = try await kernel.lookup("a", in: directory)
        #expect(again == file)
        #expect(fixture.namespace.freshVersion(of: again) == version)
    }

    @Test("A kernel that forgets nothing is called now and then, not at each name")
    func everythingInUse() async throws {
        let fixture = Fixture(nodeBudget: 100 * Self.nodeByteCount)
        let kernel = Kernel(fixture)
        fixture.remote.makeWideDirectory("d", count: 2000)
        let directory = try await kernel.lookup("d")
        for index in 0..<2000 {
            _ = try await kernel.lookup("file-\(index)", in: directory)
            _ = kernel.take()
        }
        #expect((2...200).contains(kernel.callCount))
    }

    @Test("Where the kernel would forget what is in use, directories and the names of the last one used stay")
    func sparing() async throws {
        let fixture = Fixture(nodeBudget: 1)
        let kernel = Kernel(fixture)
        for text in ["a/file", "a/empty/file", "b/file"] { fixture.remote.put(text, [1]) }
        let a = try await kernel.lookup("a")
        let file = try await kernel.lookup("file", in: a)
        _ = try await kernel.lookup("empty", in: a)
        _ = try await kernel.lookup("file", in: try await kernel.lookup("b"))
        #expect(kernel.take(sparingUsed: true) == [file])
    }

    @Test("A long name counts for more than a short one, until it is forgotten or renamed")
    func longNames() async throws {
        let fixture = Fixture()
        let kernel = Kernel(fixture)
        let long = String(repeating: "n", count: 200)
        fixture.remote.put("short", [])
        fixture.remote.put(long, [])
        let before = fixture.namespace.byteCount
        let short = try await kernel.lookup("short")
        let listed = fixture.namespace.byteCount
        let file = try await kernel.lookup(long)
        #expect(fixture.namespace.byteCount - listed >= 200 + 64)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.byteCount == listed)
        let again = try await kernel.lookup(long)
        fixture.namespace.move(name(long), in: .root, to: name("other"), in: .root, at: Fixture.time)
        fixture.namespace.forget(again, count: 1)
        fixture.namespace.forget(short, count: 1)
        #expect(fixture.namespace.memory.nodeCount == 1)
        #expect(listed > before)
    }
}
