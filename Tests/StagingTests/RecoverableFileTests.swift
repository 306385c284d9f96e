import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("What a person can have back")
struct RecoverableFileTests {
    private let fixture: StoreFixture
    private let target = TemporaryDirectory()

    init() throws { self.fixture = try StoreFixture(boot: Journal.currentBoot()) }

    private func files(_ directory: TemporaryDirectory? = nil) throws -> [RecoverableFile] {
        self.fixture.store.finish()
        let parent = FilePath((directory ?? self.fixture.directory).path).appending("cache")
        return try CacheDirectory.all(in: parent).flatMap { RecoverableFile.all(in: $1, of: $0).files }
    }

    private func file(_ directory: TemporaryDirectory? = nil) throws -> RecoverableFile {
        let files = try self.files(directory)
        #expect(files.count == 1)
        return try #require(files.first)
    }

    private func restored(_ file: RecoverableFile, _ missing: RecoverableFile.Missing = .refused) throws
        -> [UInt8]?
    {
        try file.restore(to: FilePath(self.target.path).appending("new"), missing)
        return self.target.bytes(of: "new")
    }

    @Test("What a mount waits to upload is listed, can be restored, and not be discarded beside it")
    func pendingMounted() throws {
        try self.fixture.written("d/ä").recordPending()
        let file = try self.file()
        #expect(file.standing == .pending && file.isMounted && file.path == "d/ä" && file.isWhole)
        #expect(try self.restored(file) == pattern(100))
        #expect(throws: CacheDirectoryError.self) { try file.discard() }
        #expect(self.fixture.staged.count == 1)
    }

    @Test("What the next mount will upload can be discarded while there is none, and does not come back")
    func pendingUnmounted() async throws {
        try self.fixture.written().recordPending()
        let disk = try self.fixture.disk()
        let file = try self.file(disk)
        #expect(file.standing == .pending && !file.isMounted)
        try file.discard()
        #expect(try self.files(disk).isEmpty)
        let next = try StoreFixture(in: disk)
        #expect(next.leftovers().isEmpty)
        #expect(try await next.records().isEmpty)
    }

    @Test("What is being written through a mount is listed as that; after a crash it is for a person")
    func open() throws {
        let written = try self.fixture.written()
        #expect(try self.file().standing == .open)
        let file = try self.file(try self.fixture.disk())
        #expect(file.standing == .kept && file.reason?.contains("open") == true)
        withExtendedLifetime(written) {}
    }

    @Test("What is kept says why, and can be discarded beside a mount")
    func kept() async throws {
        _ = try self.fixture.written().keepForRecovery("its place is gone")
        let file = try self.file()
        #expect(file.standing == .kept && file.isMounted && file.reason == "its place is gone")
        try file.discard()
        #expect(self.fixture.recovered.isEmpty)
        #expect(try self.files().isEmpty)
    }

    @Test("A file of which parts are here is not restored without a base or a word that it may have zeros")
    func parts() throws {
        let staged = try self.fixture.written(size: 1000, base: 1000)
        try write(staged, [7], at: 998)
        staged.recordPending()
        let file = try self.file()
        #expect(!file.isWhole && file.localByteCount == 101)
        #expect(throws: RecoverableFile.RestoreError.self) { try self.restored(file) }
        #expect(self.target.names().isEmpty)
        #expect(
            try self.restored(file, .zeros) == pattern(100) + [UInt8](repeating: 0, count: 898) + [7, 0]
        )
    }

    @Test("Its other bytes come from a copy of what the server has, of the right size only")
    func base() throws {
        let staged = try self.fixture.written(size: 1000, base: 1000)
        try staged.truncate(to: 900)
        try staged.truncate(to: 950)
        staged.recordPending()
        let file = try self.file()
        let base = pattern(1000, from: 77)
        self.target.write(Array(base.dropLast()), to: "base")
        let path = FilePath(self.target.path).appending("base")
        #expect(throws: RecoverableFile.RestoreError.self) { try self.restored(file, .from(path)) }
        self.target.write(base, to: "base")
        let expected = pattern(100) + base[100..<900] + [UInt8](repeating: 0, count: 50)
        #expect(try self.restored(file, .from(path)) == Array(expected))
    }

    @Test("Nothing that is there is overwritten")
    func existing() throws {
        try self.fixture.written().recordPending()
        self.target.write([1], to: "new")
        #expect(throws: RecoverableFile.RestoreError.self) { try self.restored(self.file()) }
        #expect(self.target.bytes(of: "new") == [1])
    }

    @Test("Where the journal is lost the files are listed by the end of their paths, and restored on demand")
    func lostJournal() throws {
        try self.fixture.written("some dir/file").recordPending()
        let disk = try self.fixture.disk()
        for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
            disk.write(pattern(3), to: "cache/f-1/\(name)")
        }
        let parent = FilePath(disk.path).appending("cache")
        let (id, directory) = try #require(try CacheDirectory.all(in: parent).first)
        let (files, isJournalReadable) = RecoverableFile.all(in: directory, of: id)
        #expect(!isJournalReadable)
        let file = try #require(files.first)
        #expect(file.path == "some dir/file" && file.standing == .kept && !file.isKnown && file.time > 0)
        #expect(throws: RecoverableFile.RestoreError.self) { try self.restored(file) }
        #expect(try self.restored(file, .zeros) == pattern(100))
    }

    @Test("What is no cache directory is passed over")
    func others() throws {
        let directory = TemporaryDirectory()
        directory.makeDirectory("log")
        directory.write([1], to: "file")
        #expect(try CacheDirectory.all(in: FilePath(directory.path)).isEmpty)
        #expect(try CacheDirectory.all(in: FilePath(directory.path).appending("none")).isEmpty)
    }

    @Test("Looking at it does not keep a mount from starting")
    func beside() throws {
        let disk = try self.fixture.disk()
        _ = try self.files(disk)
        _ = try StoreFixture(in: disk)
    }
}
