import Inodes
import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@Suite("The memory of names, and what is dropped beyond its budget", .timeLimit(.minutes(5)))
struct EvictionTests {
    /// Looks a name up as the kernel does, which knows it from then on.
    private func lookup(_ text: String, in parent: InodeNumber = .root, _ fixture: Fixture) async throws
        -> InodeNumber
    {
        let inode = try await fixture.inode(text, in: parent)
        #expect(fixture.namespace.countLookup(inode) != nil)
        return inode
    }

    /// Lists a directory that is larger than any budget here.
    private func listOther(_ fixture: Fixture) async throws {
        try await fixture.namespace.refresh(try await fixture.inode("other"))
    }

    @Test("A walk over 200,000 names in many directories keeps within the budget all the time")
    func walk() async throws {
        let budget = 1 << 20
        let fixture = Fixture(listingBudget: budget)
        for index in 0..<400 { fixture.remote.makeWideDirectory("d\(index)", count: 500) }
        for index in 0..<400 {
            let directory = try await self.lookup("d\(index)", fixture)
            try await fixture.namespace.refresh(directory)
            #expect(fixture.namespace.memory.listingByteCount <= budget)
            fixture.namespace.forget(directory, count: 1)
        }
        let memory = fixture.namespace.memory
        #expect(memory.evictedCount > 250)
        // What is there is worth its bytes.
        #expect(memory.nameCount > budget / 40)
        #expect(memory.nodeCount == 1)
    }

    @Test("What the kernel knows counts as memory, until it forgets it")
    func kernelNames() async throws {
        let fixture = Fixture()
        fixture.remote.makeWideDirectory("d", count: 1000)
        let directory = try await self.lookup("d", fixture)
        try await fixture.namespace.refresh(directory)
        let before = fixture.namespace.byteCount
        var files: [InodeNumber] = []
        for index in 0..<1000 { files.append(try await self.lookup("file-\(index)", in: directory, fixture)) }
        #expect(fixture.namespace.byteCount >= before + 1000 * 96)
        for file in files { fixture.namespace.forget(file, count: 1) }
        #expect(fixture.namespace.byteCount == before)
    }

    @Test("A name takes 12 bytes beside its own, and 24 more with its size")
    func bytesPerName() async throws {
        let fixture = Fixture()
        fixture.remote.makeWideDirectory("d", count: 10_000)
        let directory = try await fixture.inode("d")
        let before = fixture.namespace.memory.listingByteCount
        try await fixture.namespace.refresh(directory)
        let names = fixture.namespace.memory.listingByteCount - before
        #expect(names <= 10_000 * (12 + "file-1234".utf8.count))
        for dirent in fixture.namespace.snapshot(directory) {
            _ = fixture.namespace.peek(dirent.name, in: directory)
            _ = try await fixture.namespace.version(of: dirent.inode)
        }
        let sizes = fixture.namespace.memory.listingByteCount - before - names
        #expect(sizes >= 10_000 * 24 && sizes <= 10_000 * 25)
    }

    @Test("The directories least recently used are dropped first")
    func leastRecentlyUsed() async throws {
        let fixture = Fixture(listingBudget: 45_000)
        for text in ["a", "b", "c", "e"] { fixture.remote.makeWideDirectory(text, count: 600) }
        var inodes: [String: InodeNumber] = [:]
        for text in ["a", "b", "c", "e"] {
            inodes[text] = try await fixture.inode(text)
            if text == "e" { _ = try await fixture.state("file-1", in: try #require(inodes["a"])) }
            try await fixture.namespace.refresh(try #require(inodes[text]))
        }
        let listed = inodes.filter { fixture.namespace.isListed($0.value) }.keys.sorted()
        #expect(listed == ["a", "c", "e"])
    }

    @Test("One directory larger than the budget is listed once, and its files' sizes are asked for once")
    func largerThanBudget() async throws {
        let fixture = Fixture(listingBudget: 1000)
        fixture.remote.makeWideDirectory("d", count: 2000)
        let directory = try await self.lookup("d", fixture)
        try await fixture.namespace.refresh(directory)
        fixture.remote.forgetCalls()
        for _ in 0..<2 {
            for index in 0..<2000 {
                let file = try await self.lookup("file-\(index)", in: directory, fixture)
                #expect(try await fixture.namespace.version(of: file).size == 0)
                fixture.namespace.forget(file, count: 1)
            }
        }
        #expect(fixture.remote.count(.list) == 0)
        #expect(fixture.remote.count(.size) == 2000)
    }

    @Test("What the kernel knows keeps its number, its path and its size when its directory is dropped")
    func knownToKernel() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.put("d/a", pattern(7))
        fixture.remote.put("d/b", pattern(8))
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await self.lookup("d", fixture)
        let file = try await self.lookup("a", in: directory, fixture)
        let unknown = fixture.namespace.snapshot(directory)[1].inode
        let version = try await fixture.namespace.version(of: file)
        try await self.listOther(fixture)
        #expect(!fixture.namespace.isListed(directory))
        #expect(fixture.names(directory) == ["a"])
        #expect(fixture.namespace.path(of: file) == path("d/a"))
        #expect(fixture.namespace.attributes(of: file)?.size == 7)
        #expect(fixture.namespace.freshVersion(of: file)?.content == version.content)
        #expect(try await fixture.inode("a", in: directory) == file)
        #expect(try await fixture.inode("b", in: directory) != unknown)
        #expect(fixture.namespace.freshVersion(of: file)?.content == version.content)
    }

    @Test("A file whose bytes wait here stays when its directory is dropped")
    func held() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.put("d/a", [])
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await fixture.inode("d")
        try await fixture.namespace.refresh(directory)
        let file = fixture.namespace.addLocalFile(name("new"), in: directory, at: Fixture.time)
        try await self.listOther(fixture)
        #expect(fixture.names(directory) == ["new"])
        #expect(fixture.namespace.holdsUnsentFile(directory))
        #expect(!fixture.namespace.isOnServer(file))
        try await fixture.namespace.refresh(directory)
        #expect(fixture.names(directory) == ["a", "new"])
        #expect(try await fixture.inode("new", in: directory) == file)
    }

    @Test("An upload under way stays hidden when its directory is dropped")
    func hidden() async throws {
        let fixture = Fixture(.deployed, listingBudget: 1)
        fixture.remote.put("d/a", [1])
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await fixture.inode("d")
        let upload = try await fixture.remote.beginUpload(path("d/b"), size: 1)
        fixture.namespace.hideStagingName(of: upload, for: name("b"), in: directory)
        try await fixture.namespace.refresh(directory)
        try await self.listOther(fixture)
        try await fixture.namespace.refresh(directory)
        #expect(fixture.names(directory) == ["a"])
    }

    @Test("What a program set of a file stays when its directory is dropped and the kernel forgets it")
    func attributes() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.put("d/a", [])
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await self.lookup("d", fixture)
        let file = try await self.lookup("a", in: directory, fixture)
        _ = try await fixture.namespace.version(of: file)
        var change = AttributeChange()
        change.mode = 0o700
        fixture.namespace.setAttributes(of: file, change, at: Fixture.time)
        fixture.namespace.forget(file, count: 1)
        fixture.namespace.forget(directory, count: 1)
        try await self.listOther(fixture)
        let again = try await fixture.inode("a", in: try await fixture.inode("d"))
        #expect(again == file)
        #expect(fixture.namespace.attributes(of: again)?.mode == 0o700)
    }

    @Test("What programs set counts as memory, and goes with its directory's names; it comes back with them")
    func attributesBudget() async throws {
        let fixture = Fixture(listingBudget: 20_000)
        for index in 0..<200 { fixture.remote.put("d/\(index)", []) }
        fixture.remote.makeWideDirectory("other", count: 300)
        let directory = try await self.lookup("d", fixture)
        var change = AttributeChange()
        change.mode = 0o700
        for index in 0..<200 {
            let file = try await self.lookup("\(index)", in: directory, fixture)
            _ = try await fixture.namespace.version(of: file)
            fixture.namespace.setAttributes(of: file, change, at: Fixture.time)
            fixture.namespace.forget(file, count: 1)
        }
        #expect(fixture.namespace.memory.listingByteCount > 40_000)
        try await self.listOther(fixture)
        #expect(fixture.namespace.memory.listingByteCount < 20_000)
        let again = try await self.lookup("7", in: directory, fixture)
        #expect(fixture.namespace.attributes(of: again)?.mode == 0o700)
    }

    @Test("A directory that is pinned keeps its names, and loses them when it is not")
    func pinned() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.put("d/a", [])
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await self.lookup("d", fixture)
        fixture.namespace.pin(directory)
        try await fixture.namespace.refresh(directory)
        try await self.listOther(fixture)
        #expect(fixture.names(directory) == ["a"])
        fixture.namespace.unpin(directory)
        fixture.remote.makeWideDirectory("third", count: 100)
        try await fixture.namespace.refresh(.root)
        try await fixture.namespace.refresh(try await fixture.inode("third"))
        #expect(fixture.names(directory).isEmpty)
    }

    @Test("A large directory that was in use is dropped with the next listing after its last user has gone")
    func largePinned() async throws {
        let budget = 40_000
        let fixture = Fixture(listingBudget: budget)
        fixture.remote.makeWideDirectory("d", count: 10_000)
        for text in ["a", "b", "c"] { fixture.remote.makeWideDirectory(text, count: 10) }
        let directory = try await self.lookup("d", fixture)
        fixture.namespace.pin(directory)
        for text in ["d", "a", "b"] {
            try await fixture.namespace.refresh(try await fixture.inode(text))
        }
        #expect(fixture.namespace.memory.listingByteCount > 5 * budget)
        fixture.namespace.unpin(directory)
        try await fixture.namespace.refresh(try await fixture.inode("c"))
        #expect(fixture.namespace.memory.listingByteCount < budget)
    }

    @Test("Whoever waits for a listing gets its answer, even if others take all the memory meanwhile")
    func waiting() async throws {
        let fixture = Fixture(listingBudget: 1)
        for index in 0..<50 { fixture.remote.makeWideDirectory("d\(index)", count: 20) }
        let directories = try await withThrowingTaskGroup(of: InodeNumber.self) { group in
            for index in 0..<50 {
                group.addTask { try await self.lookup("d\(index)", fixture) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for directory in directories {
                group.addTask {
                    for index in 0..<20 {
                        let present = try await fixture.state("file-\(index)", in: directory)
                        let absent = try await fixture.state("none", in: directory)
                        #expect(present == "file" && absent == "absent")
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("A snapshot stays as it was when its directory is dropped or changes")
    func snapshot() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.makeWideDirectory("d", count: 1000)
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await fixture.inode("d")
        try await fixture.namespace.refresh(directory)
        let snapshot = fixture.namespace.snapshot(directory)
        let names = snapshot.map(\.name)
        for name in names.prefix(300) { fixture.namespace.remove(name, in: directory, at: Fixture.time) }
        #expect(fixture.namespace.snapshot(directory).map(\.name) == Array(names.dropFirst(300)))
        try await self.listOther(fixture)
        #expect(fixture.names(directory).isEmpty)
        #expect(snapshot.map(\.name) == names)
        #expect(names == names.sorted() && names.count == 1000)
    }

    @Test("Directories that the kernel forgot take no memory once nothing below them is known")
    func forgottenDirectories() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/e/a", [])
        let directory = try await self.lookup("d", fixture)
        let inner = try await self.lookup("e", in: directory, fixture)
        let file = try await self.lookup("a", in: inner, fixture)
        fixture.namespace.forget(directory, count: 1)
        fixture.namespace.forget(inner, count: 1)
        #expect(fixture.namespace.path(of: file) == path("d/e/a"))
        #expect(fixture.namespace.memory.nodeCount == 4)
        fixture.namespace.forget(file, count: 1)
        #expect(fixture.namespace.memory.nodeCount == 1)
        // Their names, and what was listed, are still there.
        #expect(try await fixture.inode("d") == directory)
        #expect(try await fixture.inode("e", in: directory) == inner)
        #expect(try await fixture.inode("a", in: inner) == file)
        #expect(fixture.remote.count(.list) == 3)
    }

    @Test("A size that was asked for before an upload is not stored after it, dropped and listed between")
    func epoch() async throws {
        let fixture = Fixture(listingBudget: 1)
        fixture.remote.put("d/a", pattern(7))
        fixture.remote.makeWideDirectory("other", count: 100)
        let directory = try await self.lookup("d", fixture)
        let file = try await self.lookup("a", in: directory, fixture)
        let hold = fixture.remote.hold(.size, .beforeAnswering)
        let probe = Task { try await fixture.namespace.version(of: file) }
        await hold.reached()
        fixture.namespace.didUpload(file, size: 100, isHeld: false)
        try await self.listOther(fixture)
        try await fixture.namespace.refresh(directory)
        hold.release()
        #expect(try await probe.value.size == 100)
        #expect(fixture.namespace.freshVersion(of: file)?.size == 100)
    }
}
