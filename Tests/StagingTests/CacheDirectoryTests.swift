import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("The directory of what a mount keeps on the disk")
struct CacheDirectoryTests {
    private let directory = TemporaryDirectory()

    private func open(_ id: String = "f-1") throws -> CacheDirectory {
        try CacheDirectory(
            in: FilePath(self.directory.path).appending("a/b"),
            for: try #require(FilesystemID(id))
        )
    }

    @Test("It is made with all that is above it, and can be opened again")
    func made() throws {
        var cache: CacheDirectory? = try self.open()
        #expect(cache?.path.string == self.directory.path + "/a/b/f-1")
        cache = nil
        _ = try self.open()
        #expect(self.directory.names(in: "a/b/f-1") == ["FORMAT", "lock"])
    }

    @Test("Two mounts of one filesystem do not share one, two filesystems do not meet")
    func locked() throws {
        let first = try self.open()
        let error = #expect(throws: CacheDirectoryError.self) { try self.open() }
        #expect(error?.description.contains("another mount") == true)
        #expect(error?.description.contains("--cache-dir") == true)
        _ = try self.open("f-2")
        withExtendedLifetime(first) {}
    }

    @Test("What a power failure left of the mark of a new one is written again, and all else in it stays")
    func torn() throws {
        _ = try self.open()
        self.directory.write([], to: "a/b/f-1/FORMAT")
        self.directory.write([1], to: "a/b/f-1/journal.sqlite-wal")
        #expect(throws: Never.self) { try self.open() }
        #expect(self.directory.bytes(of: "a/b/f-1/FORMAT") == Array("tetherfs cache 1\n".utf8))
        #expect(self.directory.bytes(of: "a/b/f-1/journal.sqlite-wal") == [1])
    }

    @Test(
        "One of another version, or garbage in its place, is refused and not touched",
        arguments: ["tetherfs cache 2\n", "", "tetherfs cache 1", "tetherfs cache 1\nmore", "\u{0}\u{1}"]
    )
    func format(text: String) throws {
        _ = try self.open()
        self.directory.write(Array(text.utf8), to: "a/b/f-1/FORMAT")
        self.directory.write([1], to: "a/b/f-1/other")
        let error = #expect(throws: CacheDirectoryError.self) { try self.open() }
        #expect(error?.description.contains("another version") == true)
        #expect(self.directory.bytes(of: "a/b/f-1/FORMAT") == Array(text.utf8))
        #expect(self.directory.bytes(of: "a/b/f-1/other") == [1])
    }

    @Test("A directory of something else is refused and not touched")
    func foreign() throws {
        self.directory.makeDirectory("a")
        self.directory.makeDirectory("a/b")
        self.directory.makeDirectory("a/b/f-1")
        self.directory.write([1], to: "a/b/f-1/precious")
        let error = #expect(throws: CacheDirectoryError.self) { try self.open() }
        #expect(error?.description.contains("not a cache directory") == true)
        #expect(!self.directory.names(in: "a/b/f-1").contains("FORMAT"))
        #expect(self.directory.bytes(of: "a/b/f-1/precious") == [1])
    }

    @Test("A file in its place is refused with one line")
    func file() throws {
        self.directory.write([1], to: "a")
        let error = #expect(throws: CacheDirectoryError.self) { try self.open() }
        #expect(error?.description.contains(where: \.isNewline) == false)
    }
}
