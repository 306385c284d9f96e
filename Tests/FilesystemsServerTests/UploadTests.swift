import Testing
import WireFormat

@testable import FilesystemsServer

@Suite("Uploads under way")
struct UploadTests {
    private func upload(lastUse: ContinuousClock.Instant = .now) throws -> Upload {
        Upload(
            id: try #require(UploadID("U")),
            filesystem: try #require(FilesystemID("f")),
            owner: "o",
            journal: UploadJournal(size: 10, path: try #require(RemotePath("a"))),
            lastUse: lastUse
        )
    }

    @Test("An upload that a part has just begun for is not given up for having been unused before")
    func used() throws {
        let upload = try self.upload(lastUse: .now - .seconds(86400))
        try upload.partBegan(0..<10)
        #expect(!upload.abandon(ifUnusedSince: .now + .seconds(60)))
        upload.partEnded()
        #expect(!upload.abandon(ifUnusedSince: .now - .seconds(60)))
        #expect(throws: Never.self) { try upload.partBegan(0..<10) }
    }

    @Test("An upload that nobody has used for long is given up, and takes no part")
    func unused() throws {
        let upload = try self.upload(lastUse: .now - .seconds(86400))
        #expect(upload.abandon(ifUnusedSince: .now - .seconds(60)))
        #expect(throws: UploadError.self) { try upload.partBegan(0..<10) }
    }
}
