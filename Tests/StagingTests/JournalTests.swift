import Dispatch
import Glibc
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("The journal")
struct JournalTests {
    private let fixture: StoreFixture
    private var journal: Journal { self.fixture.journal }

    init() throws { self.fixture = try StoreFixture() }

    @Test("A rename of a directory moves all records at and below it, and no others")
    func moveRecords() async throws {
        let names = ["d", "d/x", "d/e/y", "d2", "dd/x", "e", "d!/x", "d0"]
        let files = try names.map { try self.fixture.written($0) }
        self.journal.move(from: path("d"), to: path("e/new"))
        let moved = try await self.fixture.records().map { $0.path?.description ?? "" }
        #expect(moved == ["e/new", "e/new/x", "e/new/e/y", "d2", "dd/x", "e", "d!/x", "d0"])
        // What is written of them later leaves them there.
        for file in files { file.recordPending() }
        #expect(try await self.fixture.records().map { $0.path?.description ?? "" } == moved)
        #expect(try await self.fixture.records().allSatisfy { $0.state == .pending })
    }

    @Test("A move of names with other characters than ASCII's leaves the rest of the path as it is")
    func moveOddNames() async throws {
        let file = try self.fixture.written("ü%_/日本/'\"")
        self.journal.move(from: path("ü%_"), to: path("ä"))
        #expect(try await self.fixture.records().last?.path == path("ä/日本/'\""))
        withExtendedLifetime(file) {}
    }

    @Test("The log does not grow without end", arguments: [false, true])
    func longLog(isSynced: Bool) async throws {
        for index in 0..<100 {
            self.journal.setMeta("key \(index % 10)", to: String(repeating: "x", count: 256 << 10))
            if isSynced { try await self.journal.commit() } else { await self.journal.written() }
        }
        let log = try #require(self.fixture.directory.bytes(of: "cache/f-1/journal.sqlite-wal"))
        #expect(log.count < 6 << 20)
    }

    @Test("Where the log could not be synced, all of it goes to its place before anything new counts")
    func unsyncedLog() async throws {
        let log = "cache/f-1/journal.sqlite-wal"
        for index in 0..<100 {
            self.journal.setMeta("key \(index)", to: String(repeating: "x", count: 1000))
        }
        try await self.journal.commit()
        let before = try #require(self.fixture.directory.bytes(of: log)).count
        self.journal.mustFold.store(true, ordering: .relaxed)
        self.journal.setMeta("a", to: "b")
        try await self.journal.commit()
        let after = try #require(self.fixture.directory.bytes(of: log)).count
        #expect(after < before / 4)
        let isDue = self.journal.mustFold.load(ordering: .relaxed)
        #expect(!isDue)
    }

    @Test("Who waits together has one synced transaction, and one where nothing is new has none")
    func groupCommit() async throws {
        let gate = DispatchSemaphore(value: 0)
        self.journal.setMeta("a", to: "b")
        try await self.journal.commit()
        let before = self.journal.syncedCommitCount
        try await self.journal.commit()
        #expect(self.journal.syncedCommitCount == before)
        self.journal.noteSoon { gate.wait() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            let journal = self.journal
            try await eventually { journal.work.withLock { $0.notes.isEmpty } }
            for index in 0..<100 {
                group.addTask {
                    journal.setMeta("key \(index)", to: "value")
                    try await journal.commit()
                }
            }
            try await eventually { journal.work.withLock { $0.waiters.count } == 100 }
            gate.signal()
            try await group.waitForAll()
        }
        #expect(self.journal.syncedCommitCount == before + 1)
        #expect(try await self.journal.meta("key 99") == "value")
    }

    @Test("A change is on the disk once the thread has caught up, without a commit")
    func unsynced() async throws {
        self.journal.setMeta("a", to: "b")
        #expect(try await self.fixture.crashed().journal.meta("a") == "b")
    }

    @Test("The time of the first mount stays")
    func firstMount() throws {
        let first = self.journal.firstMountTime
        #expect(first > 0)
        self.journal.setMeta("first-mount", to: "12345")
        #expect(try self.fixture.crashed().journal.firstMountTime == 12345)
    }

    @Test("Renames are there again after a crash, with what was made, until they are done")
    func moves() async throws {
        let file = self.journal.addMove(.file, from: path("a"), to: path("b"))
        let directory = self.journal.addMove(.directory, from: path("d"), to: path("e"))
        self.journal.advanceMove(directory, to: .deleting)
        self.journal.noteCopied(path("e/x"), size: 7, in: directory)
        self.journal.noteCopied(path("e/sub"), size: nil, in: directory)
        let next = try self.fixture.crashed()
        let moves = try await next.journal.moves()
        #expect(moves.map(\.id) == [file, directory])
        #expect(moves.map(\.kind) == [.file, .directory] && moves.map(\.stage) == [.copying, .deleting])
        #expect(moves[1].source == path("d") && moves[1].target == path("e"))
        #expect(moves[1].copied == [path("e/x"): 7, path("e/sub"): nil])
        next.journal.finishMove(file)
        next.journal.finishMove(directory)
        #expect(try await next.journal.moves().isEmpty)
        #expect(next.journal.addMove(.file, from: path("a"), to: path("b")) > directory)
    }

    private func attributes(_ mode: UInt32) -> StoredAttributes {
        var attributes = StoredAttributes()
        attributes.mode = mode
        attributes.size = 5
        attributes.modificationTime = .init(seconds: 253_402_300_799, nanoseconds: 999_999_999)
        return attributes
    }

    @Test("Attributes are there again after a crash, by directory, nothing where nothing was set")
    func attributes() async throws {
        #expect(try await self.journal.attributes(in: .root).isEmpty)
        self.journal.putAttributes(self.attributes(0o700), of: path("d/a"))
        self.journal.putAttributes(self.attributes(0o600), of: path("d/a"))
        self.journal.putAttributes(StoredAttributes(), of: path("d"))
        let next = try self.fixture.crashed().journal
        let name = try #require(FileName("a"))
        #expect(try await next.attributes(in: path("d")) == [name: self.attributes(0o600)])
        #expect(try await next.attributes(in: .root).values.map { $0 } == [StoredAttributes()])
        #expect(try await next.attributes(in: path("other")).isEmpty)
    }

    @Test("Attributes move with a directory, in place of what was there, and go with it")
    func moveAttributes() async throws {
        for name in ["d", "d/a", "d/s/b", "dx/a"] {
            self.journal.putAttributes(self.attributes(0o700), of: path(name))
        }
        self.journal.putAttributes(self.attributes(0o111), of: path("e"))
        self.journal.move(from: path("d"), to: path("e"))
        #expect(try await self.journal.attributes(in: .root).values.map(\.mode) == [0o700])
        func names(_ directory: String) async throws -> [String] {
            try await self.journal.attributes(in: path(directory)).keys.map(\.string).sorted()
        }
        #expect(try await names("") == ["e"])
        #expect(try await names("e") == ["a"])
        #expect(try await names("e/s") == ["b"])
        #expect(try await names("d").isEmpty)
        #expect(try await names("dx") == ["a"])
        self.journal.removeAttributes(of: path("e"))
        #expect(try await names("e/s").isEmpty)
        #expect(try await names("").isEmpty)
    }

    @Test("Attributes that are put before and after a move belong to what was there then")
    func attributesAroundMove() async throws {
        self.journal.putAttributes(self.attributes(1), of: path("a"))
        self.journal.move(from: path("a"), to: path("b"))
        self.journal.putAttributes(self.attributes(2), of: path("a"))
        let found = try await self.journal.attributes(in: .root)
        #expect(found.map { ($0.string, $1.mode) }.sorted { $0.0 < $1.0 }.map(\.1) == [2, 1])
    }

    @Test("Of many changes of one record the last is written, at the path that the first one had")
    func coalesced() throws {
        var queue = JournalQueue()
        var record = Journal.Record(
            number: 1,
            path: path("a"),
            state: .open,
            content: Journal.Content(size: 0),
            isPromised: false,
            time: 0
        )
        queue.append(.record(record))
        queue.append(.move(from: path("a"), to: path("b")))
        record.path = nil
        for size in 1...100 as ClosedRange<UInt64> {
            record.content.size = size
            queue.append(.record(record))
        }
        #expect(queue.changes.count == 2)
        guard case .record(let written) = queue.changes[0] else {
            Issue.record("the first change is no record")
            return
        }
        #expect(written.size == 100 && written.path == path("a"))
        queue.append(.removeRecord(1))
        queue.append(.record(record))
        #expect(queue.changes.count == 4)
        let taken = queue.take()
        queue.append(.record(record))
        queue.putBack(taken)
        #expect(queue.changes.count == 4)
    }

    @Test("Extents come back from their bytes as they were; other bytes are none")
    func extentCoding() {
        let map = extents(0..<1, 5..<300, 1 << 20..<1 << 40, (1 << 62)..<(1 << 62) + 7)
        #expect(ExtentCoding.decode(ExtentCoding.encode(map)) == map)
        #expect(ExtentCoding.decode([]) == ExtentMap())
        #expect(ExtentCoding.decode([5]) == nil)
        #expect(ExtentCoding.decode([0x80, 0x80]) == nil)
        #expect(ExtentCoding.decode([UInt8](repeating: 0xff, count: 20)) == nil)
    }

    @Test(
        "A full disk is ENOSPC to who waits, and nothing that was queued is lost once there is room",
        .enabled(if: geteuid() == 0, "mounting a small disk takes root")
    )
    func fullDisk() async throws {
        let directory = TemporaryDirectory()
        #expect(Glibc.mount("none", directory.path, "tmpfs", 0, "size=4m") == 0)
        defer { umount2(directory.path, 2 /* MNT_DETACH */) }
        let small = try StoreFixture(in: directory)
        let file = try small.written()
        file.recordPending()
        try await small.journal.commit()
        self.fill(directory)
        let long = String(repeating: "x", count: 100_000)
        for index in 0..<8 { small.journal.setMeta("key \(index)", to: long) }
        await #expect(throws: Errno.noSpace) { try await small.journal.commit() }
        await #expect(throws: Errno.noSpace) { try await small.journal.commit() }
        #expect(small.log.text.filter { $0.contains("cannot be written") }.count == 1)
        unlink(directory.path + "/filler")
        try await small.journal.commit()
        #expect(try await small.journal.meta("key 0") == long)
        #expect(try await small.records().count == 1)
        #expect(small.log.text.contains { $0.contains("can be written again") })
    }

    /// Leaves no room on a disk.
    private func fill(_ directory: TemporaryDirectory) {
        let filler = open(directory.path + "/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        let block = [UInt8](repeating: 1, count: 4096)
        while Glibc.write(filler, block, block.count) > 0 {}
        close(filler)
    }

    @Test(
        "What is read is as it was set last, also where a full disk did not take that",
        .enabled(if: geteuid() == 0, "mounting a small disk takes root")
    )
    func readOnFullDisk() async throws {
        let directory = TemporaryDirectory()
        #expect(Glibc.mount("none", directory.path, "tmpfs", 0, "size=4m") == 0)
        defer { umount2(directory.path, 2 /* MNT_DETACH */) }
        let small = try StoreFixture(in: directory)
        let journal = small.journal
        for name in ["a", "b", "d/x"] { journal.putAttributes(self.attributes(0o700), of: path(name)) }
        try await journal.commit()
        self.fill(directory)
        journal.setMeta("long", to: String(repeating: "x", count: 800_000))
        journal.putAttributes(self.attributes(0o600), of: path("a"))
        journal.removeAttributes(of: path("b"))
        journal.move(from: path("d"), to: path("e"))
        await #expect(throws: Errno.noSpace) { try await journal.commit() }
        func modes(_ directory: RemotePath) async throws -> [String: UInt32?] {
            let found = try await journal.attributes(in: directory)
            return Dictionary(uniqueKeysWithValues: found.map { ($0.key.string, $0.value.mode) })
        }
        for isFull in [true, false] {
            #expect(try await modes(.root) == ["a": 0o600])
            #expect(try await journal.attributes(of: path("b")) == nil)
            #expect(try await modes(path("d")).isEmpty)
            #expect(try await modes(path("e")) == ["x": 0o700])
            if isFull {
                unlink(directory.path + "/filler")
                try await journal.commit()
            }
        }
        #expect(small.log.text.filter { $0.contains("cannot be written") }.count == 1)
    }
}
