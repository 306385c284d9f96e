import Glibc
import Synchronization
import SystemPackage
import TestKit
import Testing

@testable import Staging

@Suite("What a close reports as safe", .timeLimit(.minutes(5)))
struct PromiseTests {
    @Test(
        "What is written once an upload has all that a close covers is not promised by that close",
        arguments: [false, true]
    )
    func uploadedMeanwhile(isWrittenBefore: Bool) async throws {
        let meanwhile = Mutex<(@Sendable () throws -> Void)?>(nil)
        let fixture = try StoreFixture(syncFile: { descriptor in
            do { try meanwhile.withLock { $0 }?() } catch { Issue.record(error) }
            return fdatasync(descriptor)
        })
        let file = try fixture.written()
        file.recordPending()
        let snapshot = file.snapshot
        meanwhile.withLock { action in
            action = {
                if isWrittenBefore { try write(file, [1]) }
                #expect(file.didUpload(snapshot).isAll == !isWrittenBefore)
                if !isWrittenBefore { try write(file, [1]) }
            }
        }
        try await file.makeDurable()
        meanwhile.withLock { $0 = nil }
        #expect(file.stage == .open && !file.holdsPromise)
        // What a later close covers is.
        try await file.makeDurable()
        #expect(file.stage == .pending && file.holdsPromise)
    }

    @Test("What is taken back right after it was written for good comes back no more once that is asked for")
    func withdrawnLate() async throws {
        let fixture = try StoreFixture()
        _ = try fixture.written()
        try await fixture.journal.commit()
        let withdrawal = fixture.journal.withdraw()
        #expect(fixture.journal.mayBringBack(withdrawal))
        try await fixture.journal.commit()
        #expect(!fixture.journal.mayBringBack(withdrawal))
    }

    @Test("A file that cannot be opened says nothing of what the disk has lost")
    func unopened() throws {
        let fixture = try StoreFixture(checkFile: { _ in 0 })
        let file = try fixture.written()
        file.recordPending()
        file.closeUntilUsed()
        fixture.directory.removeAll()
        #expect(file.diskFailure() == nil)
    }

    @Test("Whatever the disk says of what it lost is remembered, as it says so once")
    func lossOfAnyKind() async throws {
        let fixture = try StoreFixture(checkFile: { _ in
            errno = ENODATA
            return -1
        })
        let file = try fixture.written()
        #expect(file.diskFailure() == Errno(rawValue: ENODATA))
        await #expect(throws: Errno(rawValue: ENODATA)) { try await file.makeDurable() }
    }
}
