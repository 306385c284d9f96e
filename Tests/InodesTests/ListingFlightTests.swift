import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import Inodes

@Suite("Listings that are under way", .timeLimit(.minutes(5)))
struct ListingFlightTests {
    private let fixture = Fixture()
    private var namespace: Namespace { self.fixture.namespace }

    /// So many directories, read by a program.
    private func directories(_ count: Int) async throws -> [Namespace.Dirent] {
        for index in 0..<count { self.fixture.remote.makeDirectory("d\(100 + index)") }
        try await self.namespace.refresh(.root)
        self.namespace.beginReading(.root)
        self.namespace.endReading(.root)
        return Array(self.namespace.snapshot(.root))
    }

    /// The kernel gets to know a directory.
    private func lookup(_ directory: Namespace.Dirent) {
        _ = self.namespace.known(directory.name, in: .root)
        _ = self.namespace.countLookup(directory.inode)
    }

    private func endOfWhatIsAhead() async {
        while self.namespace.ahead.withLock(\.inFlight) > 0 { await Task.yield() }
    }

    @Test("A listing ahead is not in vain if the kernel forgets its directory meanwhile")
    func forgottenAhead() async throws {
        let all = try await self.directories(10)
        self.lookup(all[1])
        self.lookup(all[0])
        let hold = self.fixture.remote.hold(.list)
        self.namespace.noteOpened(all[0].inode)
        await hold.reached()
        self.namespace.forget(all[1].inode, count: 1)
        hold.release()
        await self.endOfWhatIsAhead()
        #expect(self.namespace.isListed(all[1].inode))
        #expect(self.namespace.ahead.withLock(\.walks).map(\.window) == [1])
        // The walk, which comes to it, has it.
        #expect(self.namespace.path(of: all[1].inode) != nil)
    }

    @Test("What a walk has listed when it ends is not kept for that, nor what the kernel forgets meanwhile")
    func leftInFlight() async throws {
        let all = try await self.directories(10)
        self.lookup(all[0])
        let hold = self.fixture.remote.hold(.list)
        self.namespace.noteOpened(all[0].inode)
        await hold.reached()
        self.lookup(all[8])
        let listing = Task { try await self.namespace.refresh(all[8].inode) }
        await hold.reached(2)
        self.fixture.expire()
        self.lookup(all[5])
        self.namespace.noteOpened(all[5].inode)
        for index in [0, 5, 8] { self.namespace.forget(all[index].inode, count: 1) }
        hold.release()
        try await listing.value
        await self.endOfWhatIsAhead()
        #expect(self.namespace.nodeCount == 1)
    }

    @Test("Who looked before a listing came, and asks for it after, is told that it came")
    func cameMeanwhile() async throws {
        try await self.namespace.refresh(.root)
        #expect(try await !self.namespace.list(.root, onlyIfOld: true))
        #expect(self.fixture.remote.count(.list) == 1)
        self.fixture.expire()
        #expect(try await self.namespace.list(.root, onlyIfOld: true))
        #expect(self.fixture.remote.count(.list) == 2)
    }

    @Test("Who needs a listing of its own is not content with one that others left out")
    func leftOut() async throws {
        try await self.namespace.refresh(.root)
        let hold = Hold()
        let other = self.namespace.listings.begin(.root) {
            _ = await hold.pass()
            return .success(false)
        }
        let listing = Task.immediate { try await self.namespace.refresh(.root) }
        #expect(self.fixture.remote.count(.list) == 1)
        hold.release()
        try await listing.value
        #expect(self.fixture.remote.count(.list) == 2)
        _ = await self.namespace.listings.wait(other)
    }

    @Test("Who waits for the listing that is under way asks for no other one")
    func ends() async throws {
        let hold = self.fixture.remote.hold(.list)
        let listing = Task { try await self.namespace.refresh(.root) }
        await hold.reached()
        let waiting = Task.immediate { await self.namespace.endListing(of: .root) }
        hold.release()
        await waiting.value
        try await listing.value
        await self.namespace.endListing(of: .root)
        #expect(self.fixture.remote.count(.list) == 1)
    }
}
