import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("Answers that were lost")
struct LostAnswerTests {
    private let lost = Step.fail(.timedOut)

    // MARK: complete

    private func complete(
        _ steps: [Step],
        size: UInt64 = 10,
        previousSize: UInt64? = nil,
        retries: Int = 4
    ) async throws -> (error: RemoteError?, lines: [String], rest: Int) {
        let service = try ScriptedService(steps, retries: retries)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.completeUpload(
                path("a"),
                uploadID("u"),
                size: size,
                previousSize: previousSize
            )
        }
        return (error, service.lines, service.transport.restCount)
    }

    @Test("A completion whose answer was lost is a success if the file now has its size and had another")
    func completeApplied() async throws {
        for previousSize in [nil, 9] as [UInt64?] {
            let result = try await self.complete([self.lost, .size(10)], previousSize: previousSize)
            #expect(result.error == nil)
            #expect(result.lines == ["POST files/a", "GET files/a?init=true"])
        }
    }

    @Test("A completion whose answer was lost is repeated if the file has its old size, or is not there")
    func completeNotApplied() async throws {
        for seen in [Step.size(9), .text(404)] {
            let steps = [self.lost, seen, .text(200), .size(10)]
            let result = try await self.complete(steps, previousSize: 9)
            #expect(result.error == nil)
            let twice = ["POST files/a", "GET files/a?init=true"]
            #expect(result.lines == twice + twice)
        }
    }

    @Test("An old file of the same size proves nothing: the completion is repeated")
    func completeSameSize() async throws {
        let steps = [self.lost, .text(200), .size(10)]
        let result = try await self.complete(steps, previousSize: 10)
        #expect(result.error == nil)
        #expect(result.rest == 0)
    }

    @Test("A completion that succeeds after a lost answer and leaves the file with another size is a failure")
    func completeOtherSize() async throws {
        let steps = [self.lost, .size(9), .text(200), .size(11)]
        let result = try await self.complete(steps, previousSize: 9)
        #expect(result.error?.isUnavailable == true)
        #expect(result.rest == 0)
    }

    @Test(
        "A refusal after a lost answer is no success where the old file is as long",
        arguments: [
            (400, RemoteError.rejected(status: 400, message: "no")), (404, .notFound), (409, .alreadyExists),
        ]
    )
    func completeRefusedAfterLoss(status: Int, error: RemoteError) async throws {
        for lost in [self.lost, .text(502), .text(504)] {
            let result = try await self.complete([lost, .text(status, "no")], previousSize: 10)
            #expect(result.error == error)
            #expect(result.lines == ["POST files/a", "POST files/a"])
        }
    }

    @Test("A refusal after a lost answer is one if the file does not have the size")
    func completeRefusedOtherSize() async throws {
        let result = try await self.complete(
            [self.lost, .size(9), .text(400, "no"), .size(9)],
            previousSize: 9
        )
        #expect(result.error == .rejected(status: 400, message: "no"))
    }

    @Test("A refusal at once is one, and nothing more is asked")
    func completeRefused() async throws {
        let result = try await self.complete([.text(400, "incomplete"), .size(10)], previousSize: 10)
        #expect(result.error == .rejected(status: 400, message: "incomplete"))
        #expect(result.lines == ["POST files/a"])
    }

    @Test("What never reached the server is repeated without asking")
    func completeNotSent() async throws {
        let result = try await self.complete([.fail(.notConnected("x")), .text(200)], previousSize: 10)
        #expect(result.error == nil)
        #expect(result.lines == ["POST files/a", "POST files/a"])
    }

    @Test("A completion that is lost again and again where sizes prove nothing fails")
    func completeNeverKnown() async throws {
        let result = try await self.complete(
            [self.lost, self.lost, self.lost],
            previousSize: 10,
            retries: 2
        )
        #expect(result.error == .timedOut)
        #expect(result.rest == 0)
    }

    @Test("A size that cannot be had tells nothing: the completion is repeated")
    func completeSizeUnknown() async throws {
        let result = try await self.complete([self.lost, .text(403), .text(200), .text(403)])
        #expect(result.error == nil)
        #expect(result.lines.count == 4)
    }

    // MARK: mkdir

    private func mkdir(_ steps: [Step]) async throws -> (error: RemoteError?, lines: [String]) {
        let service = try ScriptedService(steps, retries: 2)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.makeDirectory(path("p/d"))
        }
        return (error, service.lines)
    }

    @Test("A mkdir whose answer was lost is a success if the directory is there")
    func mkdirApplied() async throws {
        let result = try await self.mkdir([self.lost, .listing(directories: ["d"])])
        #expect(result.error == nil)
        #expect(result.lines == ["POST mkdir/p/d", "GET list/p"])
    }

    @Test("A mkdir whose answer was lost is repeated if the directory is not there")
    func mkdirNotApplied() async throws {
        let result = try await self.mkdir([self.lost, .listing(), .text(200)])
        #expect(result.error == nil)
        #expect(result.lines == ["POST mkdir/p/d", "GET list/p", "POST mkdir/p/d"])
    }

    @Test(
        "A conflict after a lost answer is a success if it is with a directory, and none if it is with a file"
    )
    func mkdirConflict() async throws {
        let applied = try await self.mkdir([
            self.lost, .text(404), .text(409), .listing(directories: ["d"]),
        ])
        #expect(applied.error == nil)
        let other = try await self.mkdir([self.lost, .text(404), .text(409), .listing(files: ["d"])])
        #expect(other.error == .alreadyExists)
    }

    @Test("A conflict at once is one, and nothing more is asked")
    func mkdirExists() async throws {
        let result = try await self.mkdir([.text(409), .listing(directories: ["d"])])
        #expect(result.error == .alreadyExists)
        #expect(result.lines == ["POST mkdir/p/d"])
    }

    // MARK: filesystems

    @Test("A filesystem made by an attempt whose answer was lost is found by its name")
    func createApplied() async throws {
        let known =
            #"[{"filesystem_id":"i","filesystem_name":"n"},{"filesystem_id":"j","filesystem_name":"m"}]"#
        let service = try ScriptedService([self.lost, .text(409), .text(200, known)])
        #expect(try await service.client.createFilesystem(named: "n").filesystemID == "i")
    }

    @Test("Of two filesystems of the name none is taken for the one just made")
    func createAmbiguous() async throws {
        let known =
            #"[{"filesystem_id":"i","filesystem_name":"n"},{"filesystem_id":"j","filesystem_name":"n"}]"#
        let service = try ScriptedService([self.lost, .text(409), .text(200, known)])
        #expect(
            await failure { () async throws(RemoteError) in
                try await service.client.createFilesystem(named: "n")
            }
                == .alreadyExists
        )
    }

    @Test("A name that is taken at once is taken")
    func createExists() async throws {
        let service = try ScriptedService([.text(409)])
        #expect(
            await failure { () async throws(RemoteError) in
                try await service.client.createFilesystem(named: "n")
            }
                == .alreadyExists
        )
        #expect(service.lines.count == 1)
    }

    @Test("A filesystem deleted, or shared, by an attempt whose answer was lost is so")
    func filesystemApplied() async throws {
        let id = try #require(FilesystemID("f-1"))
        let deleted = try ScriptedService([self.lost, .text(404)])
        try await deleted.client.deleteFilesystem(id)
        let shared = try ScriptedService([self.lost, .text(409)])
        try await shared.client.shareFilesystem(id, with: "u")
    }

    @Test("A filesystem that is not there, or shared already, at once is so")
    func filesystemRefused() async throws {
        let id = try #require(FilesystemID("f-1"))
        let service = try ScriptedService([.text(404), .text(409)])
        #expect(
            await failure { () async throws(RemoteError) in try await service.client.deleteFilesystem(id) }
                == .notFound
        )
        #expect(
            await failure { () async throws(RemoteError) in
                try await service.client.shareFilesystem(id, with: "u")
            } == .alreadyExists
        )
    }
}
