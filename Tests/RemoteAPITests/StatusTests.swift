import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("What answers and failures mean, and which calls are repeated")
struct StatusTests {
    @Test(
        "Every status means one thing, and only what may pass is repeated",
        arguments: [
            (400, .rejected(status: 400, message: "why"), false), (401, .unauthorized, false),
            (402, .rejected(status: 402, message: "why"), false), (403, .forbidden, false),
            (404, .notFound, false), (405, .rejected(status: 405, message: "why"), false),
            (408, .unavailable("the server answered 408: why"), true), (409, .alreadyExists, false),
            (410, .rejected(status: 410, message: "why"), false), (413, .outOfSpace, false),
            (422, .rejected(status: 422, message: "why"), false),
            (429, .unavailable("the server answered 429: why"), true),
            (500, .failed(status: 500, message: "why"), true),
            (501, .failed(status: 501, message: "why"), false),
            (502, .unavailable("the server answered 502: why"), true),
            (503, .unavailable("the server answered 503: why"), true),
            (504, .unavailable("the server answered 504: why"), true), (507, .outOfSpace, false),
            (599, .failed(status: 599, message: "why"), false),
            (
                301, .malformedAnswer("the server answered with a redirect (301), is the endpoint right?"),
                false
            ),
            (600, .malformedAnswer("the server answered with the status 600"), false),
            (100, .malformedAnswer("the server answered with the status 100"), false),
        ] as [(Int, RemoteError, Bool)]
    )
    func status(status: Int, error: RemoteError, isRepeated: Bool) async throws {
        let step = Step.text(status, "\n  why \nmore\n")
        let service = try ScriptedService([step, step, step, step], retries: 2)
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) } == error
        )
        #expect(service.lines.count == (isRepeated ? 3 : 1))
    }

    @Test(
        "Every failure of the transport means one thing, and only what may pass is repeated",
        arguments: [
            (.notConnected("refused"), .unavailable("refused"), true),
            (.insecure("expired"), .unavailable("expired"), false), (.timedOut, .timedOut, true),
            (.interrupted("reset"), .unavailable("reset"), true),
            (.refusedBySink, .malformedAnswer("the answer is larger than any should be"), false),
            (.unreadableBody, .unreadableBody, false), (.cancelled, .cancelled, false),
            (.invalidRequest("bad"), .unavailable("the request cannot be sent: bad"), false),
        ] as [(TransportError, RemoteError, Bool)]
    )
    func transport(met: TransportError, error: RemoteError, isRepeated: Bool) async throws {
        let service = try ScriptedService([.fail(met), .fail(met), .fail(met), .fail(met)], retries: 2)
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) } == error
        )
        #expect(service.lines.count == (isRepeated ? 3 : 1))
    }

    @Test("Any 2xx is a success where no bytes of a file are expected", arguments: [200, 201, 202, 204])
    func success(status: Int) async throws {
        let service = try ScriptedService([.text(status)])
        try await service.files.makeDirectory(path("a"))
    }

    @Test("Only 200 is a success of a read: a 206 may be of another range")
    func partialContent() async throws {
        let service = try ScriptedService([.bytes(206, pattern(10))])
        let sink = CollectingSink()
        let error = await failure { () async throws(RemoteError) in
            try await service.files.read(path("a"), 0..<10, into: sink)
        }
        #expect(error?.isMalformedAnswer("206") == true)
        #expect(sink.bytes.isEmpty)
    }

    @Test("A call that succeeds at its second attempt is a success")
    func secondAttempt() async throws {
        let service = try ScriptedService([.text(503), .listing(files: ["a"])])
        #expect(try await service.files.list(.root).entries.count == 1)
        #expect(service.client.counters.attempts == 2)
        #expect(service.client.counters.retries == 1)
        #expect(service.client.counters.givenUp == 0)
    }

    @Test("An HTML page is no answer, also where an empty one would do")
    func page() async throws {
        let service = try ScriptedService(
            [
                .text(200, "\n <!DOCTYPE html><p>Hello"), .text(200, "<html>"), .listing(),
                .text(200, "<html>"),
            ],
            retries: 0
        )
        let text = "the server answered HTML, is the endpoint right?"
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
                == .malformedAnswer(text)
        )
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.makeDirectory(path("a")) }
                == .malformedAnswer(text)
        )
        #expect(
            await failure { () async throws(RemoteError) in try await service.client.filesystems() }
                == .malformedAnswer(text)
        )
        #expect(service.lines.count == 4)
    }

    @Test(
        "What is no answer of the API is asked for again, and what it was to change is looked for",
        arguments: ["<html>", "\u{0}garbage"]
    )
    func spoiledAnswer(text: String) async throws {
        let spoiled = Step.text(200, text)
        let service = try ScriptedService([
            spoiled, .listing(files: ["a"]), spoiled, .size(7), spoiled, .text(200),
            spoiled, .listing(directories: ["d"]),
        ])
        #expect(try await service.files.list(.root).entries.count == 1)
        #expect(try await service.files.size(of: path("a"), urgency: .waitedFor) == 7)
        try await service.files.putPart(path("a"), try #require(UploadID("u")), at: 0, body: ArrayReader([1]))
        // A lost answer: it is there.
        try await service.files.makeDirectory(path("d"))
        #expect(service.lines.last == "GET list/")
    }

    @Test("A file that is an HTML page is a file")
    func pageAsFile() async throws {
        let service = try ScriptedService([.text(200, "<html>")])
        let sink = CollectingSink()
        #expect(try await service.files.read(path("a"), 0..<6, into: sink) == 6)
    }

    @Test("An error's HTML page is named as such and not quoted")
    func errorPage() async throws {
        let service = try ScriptedService([.text(400, "<html><b>secret stuff</b>")])
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
                == .rejected(status: 400, message: "an HTML page")
        )
    }

    @Test("Of an error's HTML page the title is told, without what could not be printed")
    func errorPageTitle() async throws {
        let page = "<html>\r\n<head><title>400 No\u{1b}[2J\n certificate</title><b>secret stuff</b>"
        let service = try ScriptedService([.text(400, page)])
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
                == .rejected(
                    status: 400,
                    message: "an HTML page with the title '400 No [2J certificate'"
                )
        )
    }

    @Test("An error's text is one printable line of bounded length")
    func errorText() async throws {
        let long = String(repeating: "x", count: 1000)
        let service = try ScriptedService([
            .text(400, "\u{1b}[31mred\u{7}\u{202e} a\tb\r\nnext"), .text(400, long),
            .bytes(400, [0xff, 0xfe, 0x41]), .text(400),
        ])
        var texts: [String] = []
        for _ in 0..<4 {
            if case .rejected(_, let message) = await failure(of: { () async throws(RemoteError) in
                try await service.files.list(.root)
            }) {
                texts.append(message)
            }
        }
        #expect(texts == ["[31mred a b", String(long.prefix(200)), "\u{fffd}\u{fffd}A", ""])
    }
}
