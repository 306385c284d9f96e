import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("Which files come next, and to which version their bytes belong", .timeLimit(.minutes(5)))
struct SiblingTests {
    private let fixture = Fixture()

    /// Lists all directories of a tree with these files.
    private func list(_ files: [String]) async throws {
        for file in files { self.fixture.remote.put(file, pattern(7)) }
        func list(_ directory: InodeNumber) async throws {
            try await self.fixture.namespace.refresh(directory)
            for entry in self.fixture.namespace.snapshot(directory) where entry.kind == .directory {
                _ = self.fixture.namespace.known(entry.name, in: directory)
                try await list(entry.inode)
            }
        }
        try await list(.root)
    }

    private func inode(_ text: String) async throws -> InodeNumber {
        var inode = InodeNumber.root
        for name in path(text).components { inode = try await self.fixture.inode(name.string, in: inode) }
        return inode
    }

    @Test("Files come in listing order, without directories and without those whose bytes wait here")
    func files() async throws {
        try await self.list(["b", "a", "c/x", "d", "e"])
        let held = try await self.inode("d")
        self.fixture.namespace.setHeld(held, true)
        let files = self.fixture.namespace.files(in: .root, after: nil, limit: 10)
        #expect(files.map(\.name.string) == ["a", "b", "e"])
        #expect(
            self.fixture.namespace.files(in: .root, after: name("a"), limit: 1).map(\.name.string) == ["b"]
        )
        // Also after a name that is not there.
        #expect(
            self.fixture.namespace.files(in: .root, after: name("bb"), limit: 9).map(\.name.string) == ["e"]
        )
        #expect(self.fixture.namespace.files(in: .root, after: name("e"), limit: 9).isEmpty)
    }

    @Test("A file's neighbours are the files beside it, over directories between")
    func neighbours() async throws {
        try await self.list(["a", "b/x", "c", "d"])
        let file = try #require(self.fixture.namespace.sibling(try await self.inode("c")))
        let (before, after) = self.fixture.namespace.neighbours(of: file)
        #expect(before == (try await self.inode("a")))
        #expect(after == (try await self.inode("d")))
        let first = try #require(self.fixture.namespace.sibling(try await self.inode("a")))
        #expect(self.fixture.namespace.neighbours(of: first).before == nil)
        let directory = try await self.inode("b")
        #expect(self.fixture.namespace.sibling(directory) == nil)
    }

    @Test("What comes before and after a file is looked for nearby, not among all directories beside it")
    func nearby() async throws {
        self.fixture.remote.put("a", pattern(7))
        for index in 10_000..<11_100 { self.fixture.remote.makeDirectory("d\(index)") }
        for name in ["z", "zz/f"] { self.fixture.remote.put(name, pattern(7)) }
        try await self.fixture.namespace.refresh(.root)
        let first = try #require(self.fixture.namespace.sibling(try await self.inode("a")))
        let last = try #require(self.fixture.namespace.sibling(try await self.inode("z")))
        #expect(self.fixture.namespace.neighbours(of: first).after == nil)
        #expect(self.fixture.namespace.neighbours(of: last).before == nil)
        #expect(self.fixture.namespace.files(in: .root, after: name("a"), limit: 10).isEmpty)
        #expect(self.fixture.namespace.files(in: .root, after: nil, limit: 1).map(\.name.string) == ["a"])
    }

    @Test("Which directory comes next is looked for nearby, not among all files beside it")
    func nextNearby() async throws {
        for index in 10_000..<11_100 { self.fixture.remote.put("b\(index)", pattern(7)) }
        try await self.list(["a/f", "c/f"])
        let (done, next) = (try await self.inode("a"), try await self.inode("c"))
        #expect(!self.fixture.namespace.isNext(next, after: done))
    }

    @Test(
        "A walk goes on in a child, or in what comes next beside or above",
        arguments: [
            ("a", "a/1", true), ("a/1", "a/2", true), ("a/3", "b", true), ("a/2", "a/1", false),
            ("a/1", "a/3", false), ("a/1", "b", true), ("b", "a", false), ("b", "c", true),
            ("c", "b", false),
        ]
    )
    func next(from: String, to: String, isNext: Bool) async throws {
        try await self.list(["a/1/f", "a/2/f", "a/3/f", "b/f", "c/f", "aa"])
        let (other, directory) = (try await self.inode(from), try await self.inode(to))
        #expect(self.fixture.namespace.isNext(directory, after: other) == isNext)
    }

    @Test("Bytes belong to a version unless the file was changed or moved here after they were asked for")
    func current() async throws {
        try await self.list(["a", "b"])
        let inode = try await self.inode("a")
        let file = try #require(self.fixture.namespace.sibling(inode))
        let mark = try #require(self.fixture.namespace.mark(of: file))
        let version = try #require(try await self.fixture.namespace.version(of: file))
        #expect(version.size == 7)
        #expect(self.fixture.namespace.isCurrent(version.content, of: file, since: mark))
        #expect(!self.fixture.namespace.isCurrent(ContentID(rawValue: 999), of: file, since: mark))
        let new = self.fixture.namespace.didUpload(inode, size: 7, isHeld: false)
        #expect(!self.fixture.namespace.isCurrent(version.content, of: file, since: mark))
        #expect(!self.fixture.namespace.isCurrent(new, of: file, since: mark))
        let later = try #require(self.fixture.namespace.mark(of: file))
        #expect(self.fixture.namespace.isCurrent(new, of: file, since: later))
        self.fixture.namespace.move(name("a"), in: .root, to: name("c"), in: .root, at: Fixture.time)
        #expect(!self.fixture.namespace.isCurrent(new, of: file, since: later))
        #expect(self.fixture.namespace.mark(of: file) == nil)
    }
}
