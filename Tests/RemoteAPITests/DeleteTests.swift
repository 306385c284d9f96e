import TestKit
import Testing
import Transport

@testable import RemoteAPI

@Suite("Deletions, which on this service take whole trees")
struct DeleteTests {
    private let lost = Step.fail(.timedOut)

    private func delete(
        _ kind: EntryKind,
        _ steps: [Step],
        retries: Int = 2
    ) async throws -> (error: RemoteError?, lines: [String]) {
        let service = try ScriptedService(steps, retries: retries)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.delete(path("p/x"), kind: kind)
        }
        return (error, service.lines)
    }

    @Test("A name that is not there is said to be, with one request")
    func absent() async throws {
        let result = try await self.delete(.file, [.text(404)])
        #expect(result.error == .notFound)
        #expect(result.lines == ["DELETE files/p/x"])
    }

    @Test("A 400 is believed to mean that the name is not there only if the listing says so too")
    func rejected() async throws {
        let absent = try await self.delete(.file, [.text(400, "no"), .listing(files: ["y"])])
        #expect(absent.error == .notFound)
        #expect(absent.lines == ["DELETE files/p/x", "GET list/p"])
        let present = try await self.delete(.file, [.text(400, "no"), .listing(files: ["x"])])
        #expect(present.error == .rejected(status: 400, message: "no"))
        let unknown = try await self.delete(.file, [.text(400, "no"), .text(403)])
        #expect(unknown.error == .rejected(status: 400, message: "no"))
    }

    @Test("A deletion whose answer was lost is a success if the name is gone")
    func applied() async throws {
        let result = try await self.delete(.file, [self.lost, .listing(files: ["y"])])
        #expect(result.error == nil)
        #expect(result.lines == ["DELETE files/p/x", "GET list/p"])
    }

    @Test("A deletion whose answer was lost is a success if the parent is gone")
    func parentGone() async throws {
        #expect(try await self.delete(.file, [self.lost, .text(404)]).error == nil)
    }

    @Test("A deletion whose answer was lost is repeated if the name is there as it was")
    func repeated() async throws {
        let result = try await self.delete(.file, [self.lost, .listing(files: ["x"]), .text(200)])
        #expect(result.error == nil)
        #expect(result.lines == ["DELETE files/p/x", "GET list/p", "DELETE files/p/x"])
    }

    @Test("A repeated deletion that finds nothing is a success", arguments: [404, 400])
    func repeatedInVain(status: Int) async throws {
        let result = try await self.delete(.file, [self.lost, .listing(files: ["x"]), .text(status)])
        #expect(result.error == nil)
    }

    @Test("A file that became a directory meanwhile is not deleted again")
    func becameDirectory() async throws {
        let result = try await self.delete(.file, [self.lost, .listing(directories: ["x"]), .text(200)])
        #expect(result.error == .changedKind)
        #expect(result.lines == ["DELETE files/p/x", "GET list/p"])
    }

    @Test("A directory is deleted again only after a listing that shows it empty")
    func directoryAgain() async throws {
        let result = try await self.delete(
            .directory,
            [self.lost, .listing(directories: ["x"]), .listing(), .text(200)]
        )
        #expect(result.error == nil)
        #expect(
            result.lines == ["DELETE files/p/x", "GET list/p", "GET list/p/x", "DELETE files/p/x"]
        )
    }

    @Test(
        "A directory that is not empty any more is not deleted again, be it with names that nobody can hold",
        arguments: [Step.listing(files: ["new"]), .listing(directories: ["new"]), .listing(files: ["a/b"])]
    )
    func directoryFilled(listing: Step) async throws {
        let result = try await self.delete(
            .directory,
            [self.lost, .listing(directories: ["x"]), listing, .text(200)]
        )
        #expect(result.error == .changedKind)
        #expect(result.lines.count == 3)
    }

    @Test("Without a listing nothing is deleted again")
    func noListing() async throws {
        let result = try await self.delete(.file, [self.lost, .text(403), .text(200)])
        #expect(result.error == .timedOut)
        #expect(result.lines == ["DELETE files/p/x", "GET list/p"])
    }

    @Test("Also what never reached the server is listed before it is sent again")
    func notSent() async throws {
        let result = try await self.delete(
            .file,
            [.fail(.notConnected("x")), .listing(directories: ["x"]), .text(200)]
        )
        #expect(result.error == .changedKind)
        #expect(result.lines == ["DELETE files/p/x", "GET list/p"])
    }

    @Test("A last attempt whose answer is lost too is a success if the name is gone, and else a failure")
    func lastAttempt() async throws {
        let gone = try await self.delete(.file, [self.lost, .listing()], retries: 0)
        #expect(gone.error == nil)
        let there = try await self.delete(.file, [self.lost, .listing(files: ["x"])], retries: 0)
        #expect(there.error == .timedOut)
    }
}
