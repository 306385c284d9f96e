import FoundationEssentials
import Glibc
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("Small files that were closed are in the journal, whatever a power failure takes")
final class SmallFileTests {
    /// How often a file was synced.
    private let syncs = Tally()
    private let fixture: StoreFixture

    init() throws {
        let syncs = self.syncs
        self.fixture = try StoreFixture(syncFile: { descriptor in
            syncs.add()
            return fdatasync(descriptor)
        })
    }

    /// What a power failure may leave of a file that was not synced.
    enum Damage: CaseIterable {
        case none, gone, emptied, torn, otherName
    }

    /// The next start after a power failure, which did something to the one staged file.
    private func afterPowerFailure(_ damage: Damage) throws -> StoreFixture {
        let disk = try self.fixture.disk()
        let place = "cache/f-1/staging/"
        let name = try #require(self.fixture.staged.first)
        let path = disk.path + "/" + place + name
        switch damage {
        case .none: break
        case .gone: unlink(path)
        case .emptied: disk.write([], to: place + name)
        case .torn: disk.write([UInt8](repeating: 0, count: 100), to: place + name)
        case .otherName:
            let number = try #require(StagingName(dirty: name)).number
            rename(path, disk.path + "/" + place + "clean-\(number)")
        }
        let next = try StoreFixture(in: disk, boot: "second")
        self.fixture.keep(next)
        return next
    }

    @Test("A small file is durable without a sync of its own, and comes back", arguments: Damage.allCases)
    func comesBack(damage: Damage) async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        #expect(self.syncs.count == 0)
        let next = try self.afterPowerFailure(damage)
        let left = try #require(next.leftovers().first)
        #expect(left.record.state == .pending && left.record.path == path("a") && left.file.isWhole)
        #expect(try content(left.file) == pattern(100))
        #expect(next.staged.count == 1 && next.recovered.isEmpty)
        // Nor does a second one take it, nor a crash.
        let third = try next.crashed(boot: "third")
        next.keep(third)
        #expect(try third.leftovers().map { try content($0.file) } == [pattern(100)])
    }

    @Test("What was written after a close does not come back after a power failure", arguments: [30, 200])
    func changed(size: UInt64) async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try write(file, [1, 2, 3], at: 20)
        try file.truncate(to: size)
        let left = try #require(try self.afterPowerFailure(.none).leftovers().first)
        #expect(try content(left.file) == Array(pattern(100).prefix(Int(size))))
    }

    @Test("A file that was emptied after a close, and not closed again, is kept as it is found")
    func emptied() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try file.truncate(to: 0)
        let next = try self.afterPowerFailure(.none)
        #expect(next.leftovers().isEmpty && next.recovered.count == 1)
    }

    @Test("A file that has grown is synced with its next close, and the journal lets go of its bytes")
    func grown() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        let number = try #require(try await self.fixture.records().first?.number)
        #expect(try self.fixture.journal.bytes(of: number) == pattern(100))
        try write(file, pattern(20_000))
        try await file.makeDurable()
        #expect(self.syncs.count == 1)
        #expect(try self.fixture.journal.bytes(of: number) == nil)
        let left = try #require(try self.afterPowerFailure(.none).leftovers().first)
        #expect(try content(left.file) == pattern(20_000))
    }

    @Test("A file that waits for long is synced, and the journal lets go of its bytes")
    func later() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        file.syncIfInJournal()
        file.syncIfInJournal()
        #expect(self.syncs.count == 1)
        let record = try #require(try await self.fixture.records().first)
        #expect(!record.isInJournal && record.isPromised && record.synced?.size == 100)
        #expect(try self.fixture.journal.bytes(of: record.number) == nil)
        #expect(try self.afterPowerFailure(.none).leftovers().count == 1)
    }

    @Test("A small file that is only partly here, or where starts cannot be told apart, is synced itself")
    func synced() async throws {
        let part = try self.fixture.written("a", [1], size: 100, base: 100)
        try await part.makeDurable()
        #expect(self.syncs.count == 1)
        let syncs = self.syncs
        let nameless = try StoreFixture(boot: "") { descriptor in
            syncs.add()
            return fdatasync(descriptor)
        }
        try await nameless.written().makeDurable()
        #expect(self.syncs.count == 2)
    }

    @Test("A file that was uploaded does not come back as one that is kept, if its name does")
    func uploaded() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        let name = try #require(self.fixture.staged.first)
        #expect(file.didUpload(file.snapshot))
        try await self.fixture.journal.commit()
        let disk = try self.fixture.disk()
        disk.write(pattern(100), to: "cache/f-1/staging/\(name)")
        let next = try StoreFixture(in: disk, boot: "second")
        #expect(next.leftovers().isEmpty && next.staged.isEmpty && next.recovered.isEmpty)
    }

    @Test("A person can have a file back, or not, before the next mount has it", arguments: [true, false])
    func recovery(discards: Bool) async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        let disk = try self.fixture.disk()
        unlink(disk.path + "/cache/f-1/staging/" + (try #require(self.fixture.staged.first)))
        let id = try #require(FilesystemID("f-1"))
        let directory = FilePath(disk.path).appending("cache").appending("f-1")
        let found = try #require(RecoverableFile.all(in: directory, of: id).files.first)
        #expect(found.standing == .pending && found.path == path("a").description && found.isWhole)
        let target = disk.path + "/restored"
        try found.restore(to: FilePath(target), .refused)
        #expect(FileManager.default.contents(atPath: target).map { Array($0) } == pattern(100))
        if discards { try found.discard() }
        let next = try StoreFixture(in: disk, boot: "second")
        #expect(next.leftovers().count == (discards ? 0 : 1))
    }

    @Test("What a person discarded is not written again after a power failure")
    func discarded() async throws {
        let fixture = try StoreFixture(boot: Journal.currentBoot())
        try await fixture.written().makeDurable()
        let disk = try fixture.disk()
        let id = try #require(FilesystemID("f-1"))
        let directory = FilePath(disk.path).appending("cache").appending("f-1")
        try #require(RecoverableFile.all(in: directory, of: id).files.first).discard()
        let next = try StoreFixture(in: disk, boot: "second")
        #expect(next.leftovers().isEmpty && next.recovered.isEmpty)
    }
}
