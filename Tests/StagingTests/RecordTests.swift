import Dispatch
import Glibc
import Synchronization
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("What the journal says of a staged file")
struct RecordTests {
    private let fixture: StoreFixture

    init() throws { self.fixture = try StoreFixture() }

    private func record() async throws -> Journal.Record? {
        let records = try await self.fixture.records()
        #expect(records.count <= 1)
        return records.first
    }

    @Test(
        "A file that is clean has no record; its first change makes one, with its path and what it is based on"
    )
    func open() async throws {
        let file = try self.fixture.store.makeFile(for: path("d/a"), size: 100, baseSize: 100)
        #expect(try await self.record() == nil)
        try write(file, [1, 2], at: 10)
        let record = try #require(try await self.record())
        #expect(record.state == .open)
        #expect(record.path == path("d/a"))
        #expect(record.baseSize == 100)
        #expect(record.time > 0)
        #expect(record.synced == nil && !record.isPromised)
    }

    @Test("A file that is moved before its first change has a record at the place where it is then")
    func place() async throws {
        let file = try self.fixture.store.makeFile(for: path("old"), size: 0) { path("new") }
        self.fixture.journal.move(from: path("old"), to: path("new"))
        try write(file, [1])
        #expect(try await self.record()?.path == path("new"))
    }

    @Test("A close makes it pending, with exactly the bytes that are here")
    func pending() async throws {
        let file = try self.fixture.written(size: 1000, base: 1000)
        try write(file, [1], at: 500)
        file.recordPending()
        let record = try #require(try await self.record())
        #expect(record.state == .pending)
        #expect(record.content == Journal.Content(size: 1000, extents: extents(0..<100, 500..<501)))
        #expect(file.stage == .pending)
    }

    @Test("A change after a close makes it open again")
    func reopened() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        try write(file, [1])
        #expect(try await self.record()?.state == .open)
    }

    @Test("What is durable is a promise, and stays one while more is written")
    func durable() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        var record = try #require(try await self.record())
        #expect(record.state == .pending && record.isPromised)
        #expect(record.synced == Journal.Content(size: 100))
        try write(file, pattern(50), at: 100)
        record = try #require(try await self.record())
        #expect(record.state == .open && record.isPromised)
        #expect(record.synced == Journal.Content(size: 100))
    }

    @Test(
        "Never is more said to be durable than a file has after it was cut, and nothing is promised of an emptied one"
    )
    func cut() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        try file.truncate(to: 30)
        var record = try #require(try await self.record())
        #expect(record.synced == Journal.Content(size: 30) && record.isPromised)
        try file.truncate(to: 0)
        record = try #require(try await self.record())
        #expect(!record.isPromised)
    }

    @Test("A file whose base is about to be deleted may replace nothing or that, and afterwards that again")
    func losingBase() async throws {
        let file = try self.fixture.written(base: 7)
        file.recordPending()
        // Of an upload that was stopped before its last call.
        file.willReplace(size: 100)
        let undo = file.willLoseBase(isInDoubt: false)
        var record = try #require(try await self.record())
        #expect(record.baseSize == nil && record.completingSize == 7)
        undo()
        record = try #require(try await self.record())
        #expect(record.baseSize == 7 && record.completingSize == nil)
    }

    @Test("A cut of a file of which some bytes are elsewhere is in the journal before it is made")
    func announcedCut() async throws {
        let file = try self.fixture.written("a", pattern(10), size: 1000, base: 1000)
        try await file.makeDurable()
        try await file.prepareToChange(cuttingTo: 5)
        #expect(try await self.record()?.content == Journal.Content(size: 5, extents: extents(0..<5)))
        file.cancelCut()
        #expect(try await self.record()?.content == Journal.Content(size: 1000, extents: extents(0..<10)))
    }

    @Test("A write after an fsync has the journal write few of many extents, and it knows of all of them")
    func growth() async throws {
        let size: UInt64 = 1 << 30
        let file = try self.fixture.written("a", [1], size: size, base: size)
        for index in 1..<4000 as Range<UInt64> { try write(file, [1], at: index << 16) }
        try await file.makeDurable()
        let before = self.fixture.journal.writtenExtentCount
        for index in 0..<1000 as Range<UInt64> {
            try write(file, [1], at: index << 16 + 100)
            await file.didChange()
        }
        // All of them each time would be more than 8,000,000, as what was synced is written with them.
        #expect(self.fixture.journal.writtenExtentCount - before < 4_000_000)
        #expect(try await self.record()?.content.extents?.extents.count == 5000)
    }

    @Test("The write after an fsync that brings all of a file here is in the journal when it returns")
    func growthWhole() async throws {
        let file = try self.fixture.written("a", [1], size: 10, base: 10)
        try await file.makeDurable()
        try write(file, pattern(9), at: 1)
        await file.didChange()
        let crashed = try self.fixture.crashed()
        #expect(crashed.leftovers().map(\.file.isWhole) == [true])
        self.fixture.keep(crashed)
    }

    @Test("What was cut away of a file after an fsync is not in the journal again as what was written")
    func growthCut() async throws {
        let file = try self.fixture.written("a", [1], size: 1000, base: 1000)
        try await file.makeDurable()
        try write(file, [1], at: 500)
        await file.didChange()
        try await file.prepareToChange(cuttingTo: 300)
        try write(file, [1], at: 100)
        await file.didChange()
        let announced = Journal.Content(size: 300, extents: extents(0..<1, 100..<101))
        #expect(try await self.record()?.content == announced)
        try file.truncate(to: 300)
        await file.didChange()
        try write(file, [1], at: 200)
        await file.didChange()
        let record = try #require(try await self.record())
        #expect(record.content == Journal.Content(size: 300, extents: extents(0..<1, 100..<101, 200..<201)))
        #expect(record.synced == Journal.Content(size: 300, extents: extents(0..<1)))
        file.discard()
        #expect(try await self.record() == nil)
    }

    @Test("What was promised while an older state was uploaded stays a promise")
    func promisedMeanwhile() async throws {
        let file = try self.fixture.written()
        try await file.makeDurable()
        let snapshot = file.snapshot
        try file.truncate(to: 30)
        try await file.makeDurable()
        try write(file, [1], at: 5)
        #expect(!file.didUpload(snapshot).isAll)
        var record = try #require(try await self.record())
        #expect(record.isPromised && record.synced?.size == 30 && record.baseSize == 100)
        #expect(!file.didUpload(StagedFile.Snapshot(size: 30, changeCount: snapshot.changeCount + 1)).isAll)
        record = try #require(try await self.record())
        #expect(!record.isPromised && record.synced == nil)
    }

    @Test("A disk that fails to sync is told to whoever waits, then and later, and nothing is promised")
    func failingDisk() async throws {
        let isBroken = Atomic(true)
        let fixture = try StoreFixture(syncFile: { descriptor in
            guard isBroken.load(ordering: .relaxed) else { return fdatasync(descriptor) }
            errno = EIO
            return -1
        })
        let file = try fixture.written()
        for _ in 0..<2 {
            await #expect(throws: Errno.ioError) { try await file.makeDurable() }
            // What the disk has of it is not known any more, whatever it says later.
            isBroken.store(false, ordering: .relaxed)
        }
        #expect(file.stage == .open && file.isDirty)
        let record = try #require(try await fixture.records().first)
        #expect(record.state == .open && !record.isPromised && record.synced == nil)
        #expect(try content(file) == pattern(100))
    }

    @Test("Of two who wait for a disk that fails once, neither is told that the bytes are safe")
    func failingOnce() async throws {
        let isFirst = Atomic(true)
        let mayFail = DispatchSemaphore(value: 0)
        let fixture = try StoreFixture(syncFile: { descriptor in
            guard isFirst.exchange(false, ordering: .relaxed) else { return fdatasync(descriptor) }
            mayFail.wait()
            errno = EIO
            return -1
        })
        let file = try fixture.written("a", pattern(20_000))
        let waiting = (0..<2).map { _ in Task.immediate { try await file.makeDurable() } }
        mayFail.signal()
        for task in waiting { await #expect(throws: Errno.ioError) { try await task.value } }
        await #expect(throws: Errno.ioError) { try await file.makeDurable() }
        #expect(try await fixture.records().first?.isPromised == false)
    }

    @Test("Making a clean file durable does nothing")
    func durableClean() async throws {
        let file = try self.fixture.store.makeFile(for: path("a"), size: 10)
        let before = self.fixture.journal.syncedCommitCount
        try await file.makeDurable()
        #expect(try await self.record() == nil)
        #expect(self.fixture.journal.syncedCommitCount == before)
    }

    @Test("An upload is noted with its parts, then as unverified, and its end leaves no record")
    func upload() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let id = uploadID("upload-1")
        #expect(file.beginUpload(id, partSize: 40, sentParts: [0], of: file.snapshot))
        file.didSend(part: 2, of: id)
        var record = try #require(try await self.record())
        #expect(record.state == .uploading)
        #expect(record.upload == Journal.Upload(id: id, partSize: 40, sentParts: [0, 2]))
        file.willComplete(id)
        record = try #require(try await self.record())
        #expect(record.state == .unverified)
        #expect(record.upload?.id == id)
        #expect(file.didUpload(file.snapshot).isAll)
        #expect(try await self.record() == nil)
        #expect(file.baseSize == 100)
    }

    @Test("An upload of what the file no longer is, or what is being written, is not noted")
    func lateUpload() async throws {
        let file = try self.fixture.written()
        #expect(!file.beginUpload(uploadID("upload-1"), partSize: 40, of: file.snapshot))
        let snapshot = file.snapshot
        try write(file, [1])
        file.recordPending()
        #expect(!file.beginUpload(uploadID("upload-1"), partSize: 40, of: snapshot))
        #expect(try await self.record()?.upload == nil)
    }

    @Test(
        "Bytes do not change before the upload of the old ones is out of the journal, durably",
        arguments: [true, false]
    )
    func changeEndsUpload(isPrepared: Bool) async throws {
        let file = try self.fixture.written()
        file.recordPending()
        let id = uploadID("upload-1")
        file.beginUpload(id, partSize: 40, of: file.snapshot)
        _ = try await self.record()
        let before = self.fixture.journal.syncedCommitCount
        #expect(file.upload != nil)
        if isPrepared {
            try await file.prepareToChange()
            #expect(file.upload == nil)
            #expect(self.fixture.journal.syncedCommitCount == before + 1)
        }
        try write(file, [9])
        #expect(self.fixture.journal.syncedCommitCount == before + 1)
        // Parts that were on their way belong to nothing.
        file.didSend(part: 0, of: id)
        #expect(try await self.record()?.upload == nil)
        file.recordPending()
        file.beginUpload(uploadID("upload-2"), partSize: 40, of: file.snapshot)
        file.didSend(part: 1, of: id)
        #expect(try await self.record()?.upload?.sentParts == [])
    }

    @Test("An upload that is given up leaves the file pending")
    func endUpload() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        file.beginUpload(uploadID("upload-1"), partSize: 40, of: file.snapshot)
        file.endUpload()
        let record = try #require(try await self.record())
        #expect(record.state == .pending && record.upload == nil)
    }

    @Test("A refused upload is noted with its reason, becomes durable, and is forgotten with the next change")
    func failed() async throws {
        let file = try self.fixture.written()
        file.recordPending()
        file.recordFailed("413")
        let record = try #require(try await self.record())
        #expect(record.state == .failed && record.reason == "413")
        try await eventually { try await self.record()?.synced == Journal.Content(size: 100) }
        #expect(try await self.record()?.isPromised == false)
        try write(file, [1])
        #expect(try await self.record()?.state == .open)
        #expect(try await self.record()?.reason == nil)
    }

    @Test("An upload that was outrun by a writer is the new base, and the record stays")
    func outrun() async throws {
        let file = try self.fixture.written(base: nil)
        let snapshot = file.snapshot
        try write(file, pattern(10), at: 100)
        #expect(!file.didUpload(snapshot).isAll)
        let record = try #require(try await self.record())
        #expect(record.baseSize == 100 && record.state == .open)
    }

    @Test("What nobody wants any more has no record; what has no place keeps one with the reason")
    func ends() async throws {
        let discarded = try self.fixture.written()
        discarded.discard()
        #expect(try await self.record() == nil)
        let kept = try self.fixture.written("b")
        #expect(kept.keepForRecovery("gone").hasPrefix(self.fixture.store.recoveryDirectory.string))
        let record = try #require(try await self.record())
        #expect(record.state == .kept && record.reason == "gone")
    }

    @Test("What is written without a close or fsync is noted soon, nobody waiting for it")
    func lazily() async throws {
        let file = try self.fixture.written(size: 1000, base: 1000)
        _ = try await self.record()
        for index in 0..<100 { try write(file, [1], at: UInt64(200 + 2 * index)) }
        try await eventually { try await self.record()?.content.extents?.extents.count == 101 }
    }

    @Test("A base that is learnt later is noted")
    func base() async throws {
        let file = try self.fixture.written(base: nil)
        file.setBase(size: 77)
        #expect(try await self.record()?.baseSize == 77)
    }

    @Test("Whatever is done, the journal never has more of a file than the file", arguments: 0..<8)
    func neverMore(run: Int) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let file = try self.fixture.written(size: 500, base: 500)
        for step in 0..<150 {
            let offset = UInt64.random(in: 0..<1000, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: try write(file, pattern(Int.random(in: 1..<50, using: &random)), at: offset)
            case 1:
                try write(file, pattern(Int.random(in: 1..<50, using: &random)), at: offset)
                await file.didChange()
                if file.holdsPromise, !file.isWhole {
                    let content = file.state.withLock(\.content)
                    #expect(try await self.record()?.content == content, "seed \(seed)")
                }
            case 2: try file.truncate(to: offset)
            case 3: file.recordPending()
            case 4: try await file.makeDurable()
            default: file.recordFailed("x")
            }
            let record = try #require(try await self.record())
            let length = try #require(
                CacheDirectory.length(of: self.fixture.store.directory.appending(self.fixture.staged[0]))
            )
            let lasts = [record.content, record.synced].compactMap { $0?.extents?.extents.last?.upperBound }
            let isRight = (record.synced?.size ?? 0) <= length && lasts.allSatisfy { $0 <= length }
            guard isRight, record.state == .open || record.size == length else {
                Issue.record("seed \(seed), step \(step): \(record) of \(length) bytes")
                return
            }
        }
    }
}

/// Waits for a condition, not without end.
func eventually(_ condition: () async throws -> Bool) async throws {
    for _ in 0..<500 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("it did not come true")
}
