import Glibc
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("What a mount finds that an earlier one left")
struct LeftoverTests {
    private let fixture: StoreFixture

    init() throws { self.fixture = try StoreFixture() }

    /// What the next start gives of the one file that there is; nothing if it is kept.
    private func leftover(boot: String = "first") async throws -> StagingStore.Leftover? {
        let next = try self.fixture.crashed(boot: boot)
        self.fixture.keep(next)
        let leftovers = next.leftovers()
        #expect(leftovers.count <= 1)
        #expect(next.recovered.count == 1 - leftovers.count)
        if leftovers.isEmpty {
            let record = try await next.records().first
            #expect(record?.state == .kept && record?.reason != nil)
            #expect(next.log.text.contains { $0.contains(next.recovered[0]) })
        }
        return leftovers.first
    }

    @Test("What was closed is given to the next mount, with its bytes")
    func pending() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let left = try #require(try await self.leftover())
        #expect(left.record.state == .pending && left.record.path == path("a"))
        #expect(left.file.isDirty && left.file.stage == .pending)
        #expect(try content(left.file) == pattern(100))
        #expect(left.file.isWhole)
    }

    @Test("Of what is here in parts the same parts are here")
    func parts() async throws {
        let file = try self.fixture.written(size: 1000, base: 1000)
        try write(file, pattern(10), at: 700)
        file.recordPending()
        let left = try #require(try await self.leftover())
        #expect(left.file.pieces(of: 0..<1000).map(\.range) == [0..<100, 100..<700, 700..<710, 710..<1000])
        #expect(left.file.baseSize == 1000)
        #expect(!left.file.isWhole && left.file.size == 1000)
    }

    @Test("What was open is kept, not uploaded")
    func open() async throws {
        _ = try self.fixture.written()
        let file = try self.fixture.written("b")
        file.discard()
        #expect(try await self.leftover() == nil)
    }

    @Test("What was closed and changed again without an fsync is kept")
    func changedAgain() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        try write(file, [1], at: 3)
        #expect(try await self.leftover() == nil)
    }

    @Test("A change that the journal had not heard of shows in the length: it is kept, whole")
    func unheard() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let disk = try self.fixture.disk()
        disk.write(pattern(40), to: "cache/f-1/staging/\(self.fixture.staged[0])")
        let next = try StoreFixture(in: disk)
        #expect(next.leftovers().isEmpty)
        #expect(try await next.records().first?.content == Journal.Content(size: 40))
        #expect(next.recovered.count == 1)
    }

    @Test("What an fsync reported as safe is there again, with what was written after it")
    func promised() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try write(file, pattern(20), at: 100)
        let left = try #require(try await self.leftover())
        #expect(left.record.state == .pending)
        #expect(try content(left.file) == pattern(100) + pattern(20))
    }

    @Test("A power failure leaves what was reported as safe, and nothing that may be torn is uploaded")
    func power() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        #expect(try await self.leftover(boot: "second") == nil)
        try await file.makeDurable()
        try write(file, pattern(20), at: 100)
        let left = try #require(try await self.leftover(boot: "second"))
        #expect(left.record.state == .pending)
        #expect(try content(left.file) == pattern(100))
    }

    @Test("What was emptied after it was safe is kept: nothing of the old content is left to be uploaded")
    func emptied() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try file.truncate(to: 0)
        try write(file, pattern(10))
        #expect(try await self.leftover() == nil)
    }

    @Test("An upload of what was not synced can be gone on with after a crash, not after a power failure")
    func uploading() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try write(file, [1], at: 3)
        file.recordPending()
        let id = uploadID("upload-1")
        file.beginUpload(id, partSize: 10, of: file.snapshot)
        file.didSend(part: 4, of: id)
        var left = try #require(try await self.leftover())
        #expect(left.record.state == .uploading)
        #expect(left.record.upload == Journal.Upload(id: id, partSize: 10, sentParts: [4]))
        #expect(left.file.upload != nil)
        left = try #require(try await self.leftover(boot: "second"))
        #expect(left.record.upload == nil && left.file.upload == nil)
        file.willComplete(id)
        left = try #require(try await self.leftover())
        #expect(left.record.state == .unverified && left.record.upload?.id == id)
        // Nor if another mount has gone on with it in between.
        let second = try self.fixture.crashed()
        let again = try #require(second.leftovers().first?.file)
        #expect(again.beginUpload(id, partSize: 10, of: again.snapshot))
        let third = try second.crashed(boot: "second")
        #expect(third.leftovers().map(\.record.upload) == [nil])
    }

    @Test("An upload of what was synced can be gone on with after power failures, until that is changed")
    func uploadingSynced() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        let id = uploadID("upload-1")
        file.beginUpload(id, partSize: 10, of: file.snapshot)
        file.didSend(part: 4, of: id)
        for boots in [["first"], ["second"], ["first", "first", "second"], ["second", "second", "third"]] {
            var last = self.fixture
            for boot in boots {
                let next = try last.crashed(boot: boot)
                last.keep(next)
                last = next
                let left = try #require(next.leftovers().first)
                #expect(left.record.upload?.id == id && left.record.upload?.sentParts == [4])
                #expect(try content(left.file) == pattern(100))
                left.file.beginUpload(id, partSize: 10, sentParts: [4], of: left.file.snapshot)
            }
            withExtendedLifetime(last) {}
        }
        try write(file, [1], at: 3)
        let left = try #require(try await self.leftover(boot: "second"))
        #expect(left.record.state == .pending && left.record.upload == nil)
    }

    @Test("Uploads that were begun are known after a crash and after a power failure, until they are over")
    func begunUploads() throws {
        self.fixture.journal.addUpload(uploadID("upload-1"), at: path("d/a"))
        self.fixture.journal.addUpload(uploadID("upload-2"), at: path("d/b"))
        self.fixture.journal.removeUpload(uploadID("upload-2"))
        for boot in ["first", "second"] {
            let next = try self.fixture.crashed(boot: boot)
            #expect(next.store.earlierUploads == [uploadID("upload-1"): path("d/a")])
        }
        #expect(try self.fixture.crashed(recovers: false).store.earlierUploads.isEmpty)
    }

    @Test("A refused upload is given with its reason")
    func failed() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        file.recordFailed("413")
        let left = try #require(try await self.leftover())
        #expect(left.record.state == .failed && left.record.reason == "413")
    }

    @Test("What is not taken, or not done, is there again at the next start")
    func again() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let second = try self.fixture.crashed()
        #expect(second.store.leftoverCount == 1)
        let third = try second.crashed()
        let left = third.leftovers()
        #expect(left.count == 1 && third.leftovers().isEmpty)
        let fourth = try third.crashed()
        #expect(fourth.leftovers().count == 1)
    }

    @Test("What waits to be uploaded stays where it is when the mount ends, and what is uploaded is gone")
    func end() async throws {
        let directory = TemporaryDirectory()
        do {
            let first = try StoreFixture(in: directory)
            try first.written("a").recordPending()
            let sent = try first.written("b")
            sent.recordPending()
            #expect(sent.didUpload(sent.snapshot).isAll)
        }
        let next = try StoreFixture(in: directory)
        #expect(next.leftovers().map(\.record.path) == [path("a")])
        #expect(next.staged.count == 1 && next.recovered.isEmpty)
    }

    @Test("A mount that only reads leaves everything as it is")
    func readOnly() async throws {
        try self.fixture.written("a").recordPending()
        let open = try self.fixture.written("b")
        let next = try self.fixture.crashed(recovers: false)
        #expect(next.staged == self.fixture.staged && next.recovered.isEmpty)
        #expect(next.leftovers().isEmpty)
        let records = try await self.fixture.records()
        #expect(try await next.records() == records)
        withExtendedLifetime(open) {}
    }

    @Test("What is uploaded after a crash leaves no trace")
    func done() async throws {
        try self.fixture.written().recordPending()
        let next = try self.fixture.crashed()
        var left = next.leftovers()
        let file = try #require(left.first?.file)
        #expect(file.didUpload(file.snapshot).isAll)
        left = []
        #expect(try await next.records().isEmpty)
        #expect(next.staged.allSatisfy { $0.hasPrefix("clean-") })
    }

    @Test("A crash between the two names of a file that is kept or clean is made good")
    func betweenNames() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let name = self.fixture.staged[0]
        var disk = try self.fixture.disk()
        rename(disk.path + "/cache/f-1/staging/\(name)", disk.path + "/cache/f-1/recovered/1-\(name)")
        var next = try StoreFixture(in: disk)
        #expect(next.leftovers().isEmpty && next.recovered.count == 1)
        #expect(try await next.records().first?.state == .kept)
        disk = try self.fixture.disk()
        rename(
            disk.path + "/cache/f-1/staging/\(name)",
            disk.path + "/cache/f-1/staging/clean-\(name.split(separator: "-")[1])"
        )
        next = try StoreFixture(in: disk)
        #expect(next.leftovers().isEmpty && next.recovered.isEmpty && next.staged.isEmpty)
        #expect(try await next.records().isEmpty)
    }

    @Test("A name that a power failure took back does not cost the bytes")
    func lostName() async throws {
        let file = try self.fixture.written()
        let disk = try self.fixture.disk()
        let name = self.fixture.staged[0]
        rename(
            disk.path + "/cache/f-1/staging/\(name)",
            disk.path + "/cache/f-1/staging/clean-\(name.split(separator: "-")[1])"
        )
        let next = try StoreFixture(in: disk, boot: "second")
        #expect(next.recovered.count == 1)
        #expect(try await next.records().first?.state == .kept)
        withExtendedLifetime(file) {}
    }

    @Test("The record of what a person discarded goes at the next start")
    func discardedMeanwhile() async throws {
        _ = try self.fixture.written().keepForRecovery()
        let disk = try self.fixture.disk()
        unlink(disk.path + "/cache/f-1/recovered/\(self.fixture.recovered[0])")
        #expect(try await StoreFixture(in: disk).records().isEmpty)
    }

    enum Damage: CaseIterable { case garbage, torn, emptyPages, missing }

    @Test(
        "With a damaged journal it is moved aside, told, and all bytes are kept",
        arguments: Damage.allCases
    )
    func damaged(how: Damage) async throws {
        try self.fixture.written().recordPending()
        for index in 0..<200 { self.fixture.journal.putAttributes(StoredAttributes(), of: path("n\(index)")) }
        // Closed, so that all of it is in the file.
        let disk = try self.fixture.disk()
        do { _ = try StoreFixture(in: disk, recovers: false) }
        let name = "cache/f-1/journal.sqlite"
        var bytes = try #require(disk.bytes(of: name))
        switch how {
        case .garbage: bytes = pattern(5000)
        case .torn: bytes = Array(bytes[..<(bytes.count / 2)])
        case .emptyPages: for index in 4096..<bytes.count { bytes[index] = 0 }
        case .missing: bytes = []
        }
        if how == .missing { unlink(disk.path + "/" + name) } else { disk.write(bytes, to: name) }
        let next = try StoreFixture(in: disk)
        #expect(next.leftovers().isEmpty)
        #expect(next.recovered.count == 1)
        #expect(disk.bytes(of: "cache/f-1/recovered/\(next.recovered.first ?? "")") == pattern(100))
        if how != .missing {
            #expect(next.log.text.contains { $0.hasPrefix("error the journal is damaged") })
            let aside = disk.names(in: "cache/f-1").filter { $0.hasPrefix("journal.sqlite.damaged-") }
            #expect(aside.count == 1 && disk.bytes(of: "cache/f-1/\(aside[0])") == bytes)
        }
        try await next.journal.commit()
    }

    @Test("A journal of a later version is refused in one line, and not touched")
    func laterVersion() throws {
        let disk = try self.fixture.disk()
        do { _ = try StoreFixture(in: disk) }
        let name = "cache/f-1/journal.sqlite"
        var bytes = try #require(disk.bytes(of: name))
        // The version of the user's data in the header of SQLite's files.
        bytes[63] = 9
        disk.write(bytes, to: name)
        let error = #expect(throws: CacheDirectoryError.self) { try StoreFixture(in: disk) }
        #expect(error?.description.contains("later version") == true)
        #expect(disk.bytes(of: name) == bytes)
    }

    @Test(
        "What a power failure left behind the end of what was safe is gone, also if the next mount is killed"
    )
    func tailAfterPowerFailure() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try write(file, pattern(20), at: 100)
        let second = try self.fixture.crashed(boot: "second")
        self.fixture.keep(second)
        let third = try second.crashed(boot: "second")
        self.fixture.keep(third)
        let left = try #require(third.leftovers().first)
        #expect(try content(left.file) == pattern(100))
    }
}
