import TestKit
import Testing
import WireFormat

@testable import RemoteAPI

@Suite("Empty files where the server answers 500 to the size 0")
struct EmptyUploadTests {
    private let refusal = RemoteError.rejected(
        status: 500,
        message: "this server refuses to take an empty file"
    )
    private let first = "a." + String(repeating: "A", count: 20)
    private let second = "a." + String(repeating: "b", count: 19) + "7"

    private func begin(_ service: ScriptedService) async -> Result<UploadID, RemoteError> {
        do throws(RemoteError) {
            return .success(try await service.files.beginUpload(path("a"), size: 0))
        } catch {
            return .failure(error)
        }
    }

    @Test("What the refused call left is taken for the upload, and not what was there before")
    func left() async throws {
        let service = try ScriptedService([
            .listing(files: ["b", self.first]), .text(500),
            .listing(files: [self.first, "b", self.second]),
            .size(0),
        ])
        #expect(await self.begin(service) == .success(uploadID(String(self.second.dropFirst(2)))))
        #expect(service.lines.last == "GET files/\(self.second)?init=true")
    }

    @Test("A server that was seen to refuse is listed before each call, one that takes them is not")
    func known() async throws {
        let service = try ScriptedService([
            .listing(), .text(500), .listing(files: [self.first]), .size(0),
            .listing(files: [self.first]), .text(500), .listing(files: [self.first, self.second]), .size(0),
            .listing(), .text(200, #"{"uploadId":"u"}"#), .text(200, #"{"uploadId":"v"}"#),
        ])
        #expect(await self.begin(service) == .success(uploadID(String(self.first.dropFirst(2)))))
        #expect(await self.begin(service) == .success(uploadID(String(self.second.dropFirst(2)))))
        #expect(await self.begin(service) == .success(uploadID("u")))
        #expect(await self.begin(service) == .success(uploadID("v")))
        #expect(service.lines.count == 11)
    }

    @Test("Where nothing is left, or it is not certain which, the file is refused in the end")
    func nothing() async throws {
        let other = "a." + String(repeating: "c", count: 20)
        for left in [[], [self.second, other], ["a.short", "ab.\(String(repeating: "d", count: 20))"]] {
            let service = try ScriptedService([
                .listing(), .text(500), .listing(files: left), .text(500), .listing(files: left),
            ])
            #expect(await self.begin(service) == .failure(self.refusal))
            #expect(service.lines.count == 5)
        }
    }

    @Test("A new name that has bytes is another's upload")
    func notEmpty() async throws {
        let service = try ScriptedService([
            .listing(), .text(500), .listing(files: [self.first]), .size(1), .text(500),
            .listing(files: [self.first]),
        ])
        #expect(await self.begin(service) == .failure(self.refusal))
    }

    @Test("A server that only stumbled gets the file, also with no retries")
    func stumbled() async throws {
        let service = try ScriptedService(
            [
                .listing(), .text(500), .listing(), .text(200, #"{"uploadId":"u"}"#),
                .text(200, #"{"uploadId":"v"}"#),
            ],
            retries: 0
        )
        #expect(await self.begin(service) == .success(uploadID("u")))
        #expect(await self.begin(service) == .success(uploadID("v")))
    }
}
