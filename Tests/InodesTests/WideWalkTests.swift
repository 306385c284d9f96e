import Primitives
import TestKit
import Testing

@testable import Inodes

@Suite("Going through many directories, and wide ones", .timeLimit(.minutes(5)))
struct WideWalkTests {
    private let fixture = Fixture()

    /// A program reads a directory: the directories in it.
    private func read(_ directory: InodeNumber) async throws -> [Namespace.Dirent] {
        try await self.fixture.namespace.ensureListed(directory)
        self.fixture.namespace.beginReading(directory)
        self.fixture.namespace.endReading(directory)
        return Array(self.fixture.namespace.snapshot(directory))
    }

    /// A program opens a directory; what is asked for ahead of it comes.
    private func open(_ directory: Namespace.Dirent, in parent: InodeNumber) async {
        let namespace = self.fixture.namespace
        _ = namespace.known(directory.name, in: parent)
        _ = namespace.countLookup(directory.inode)
        namespace.noteOpened(directory.inode)
        while namespace.ahead.withLock(\.inFlight) > 0 { await Task.yield() }
    }

    @Test("Of many programs that go through a directory each, every one is followed")
    func sideBySide() async throws {
        let (programs, breadth) = (20, 10)
        for program in 100..<100 + programs {
            for index in 100..<100 + breadth { self.fixture.remote.makeDirectory("p\(program)/d\(index)") }
        }
        let parents = try await self.read(.root)
        var children: [[Namespace.Dirent]] = []
        for parent in parents {
            _ = self.fixture.namespace.known(parent.name, in: .root)
            children.append(try await self.read(parent.inode))
        }
        #expect(children.map(\.count) == Array(repeating: breadth, count: programs))
        for index in 0..<3 {
            for (parent, children) in zip(parents, children) {
                await self.open(children[index], in: parent.inode)
            }
        }
        // All but the first of each were listed ahead.
        #expect(self.fixture.remote.count(.list) == 1 + programs + programs * (breadth - 1))
    }

    @Test("A walk through a wide directory learns of its directories by and by, and goes on as it was")
    func wide() async throws {
        for index in 1000..<3500 { self.fixture.remote.makeDirectory("d\(index)") }
        let all = try await self.read(.root)
        let first = self.fixture.namespace.followers(of: all[0].inode, all[0].name, in: .root, last: nil)
        #expect(first?.directories.count == Walk.followerCount)
        for directory in all.prefix(1100) { await self.open(directory, in: .root) }
        let walks = self.fixture.namespace.ahead.withLock(\.walks)
        #expect(walks.count == 1)
        #expect(walks.first?.window == Walk.maximumWindow)
        #expect((512..<2 * Walk.followerCount).contains(walks.first?.remaining.count ?? 0))
        for directory in all.suffix(1400) { await self.open(directory, in: .root) }
        #expect(self.fixture.namespace.ahead.withLock { $0.walks.first?.remaining } == [])
        #expect(self.fixture.remote.count(.list) == 2500)
    }

    @Test("Of a wide directory below the first one a walk knows some at a time, and lists all ahead")
    func wideBelow() async throws {
        self.fixture.remote.makeDirectory("a")
        self.fixture.remote.makeDirectory("z")
        for index in 1000..<2200 { self.fixture.remote.makeDirectory("a/d\(index)") }
        let top = try await self.read(.root)
        await self.open(top[0], in: .root)
        let all = try await self.read(top[0].inode)
        for directory in all {
            await self.open(directory, in: top[0].inode)
            let walks = self.fixture.namespace.ahead.withLock(\.walks)
            #expect(walks.count == 1 && walks[0].remaining.count <= Walk.followerCount + 1)
            // All but the first were listed when the program came.
            #expect(directory.inode == all[0].inode || self.fixture.namespace.isListed(directory.inode))
        }
        #expect(self.fixture.namespace.ahead.withLock { $0.walks.first?.remaining } == [top[1].inode])
        #expect(self.fixture.namespace.isListed(top[1].inode))
        #expect(self.fixture.remote.count(.list) == 1 + 2 + 1200)
    }
}
