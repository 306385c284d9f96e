import Synchronization
import TestKit
import Testing

@testable import Transport

@Suite("Requests over a real connection", .timeLimit(.minutes(5)))
struct CurlTransportTests {
    private let transport: CurlTransport

    init() throws { self.transport = try CurlTransport(TransportOptions(connectTimeout: .seconds(5))) }

    @Test("A status other than 200 comes back with its headers in lower case and its body")
    func status() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer(
                Array("no such file\n".utf8),
                status: "404 Not Found",
                headers: "X-Odd:  a b \r\n"
            )
        }
        let sink = CollectingSink()
        let response = try await self.transport.send(.get(server.url + "/a"), into: sink)
        #expect(response.status == 404)
        #expect(response.headers["x-odd"] == "a b")
        #expect(response.body == Array("no such file\n".utf8))
        #expect(sink.bytes.isEmpty)
    }

    @Test("The body of a 200 goes to the sink, byte for byte")
    func sink() async throws {
        let body = pattern(3 << 20)
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer(body)
        }
        let sink = CollectingSink()
        let response = try await self.transport.send(.get(server.url), into: sink)
        #expect(response.status == 200)
        #expect(response.body.isEmpty)
        #expect(sink.bytes == body)
    }

    @Test("The request line and the headers go out as they were given, and nothing is made up")
    func request() async throws {
        let head = Mutex("")
        let server = try LoopbackServer { connection in
            let text = connection.readHead() ?? ""
            head.withLock { $0 = text }
            connection.answer()
        }
        var request = HTTPRequest.get(server.url + "/v1/a/../%2E/b%20c?init=true")
        request.headers = [("Authorization", "k3y"), ("Content-Range", "0-8388608"), ("X-Empty", "")]
        _ = try await self.transport.send(request, into: nil)
        #expect(
            head.withLock { $0 } == """
                GET /v1/a/../%2E/b%20c?init=true HTTP/1.1\r
                Host: 127.0.0.1:\(server.port)\r
                User-Agent: tetherfs/0.1\r
                Accept: */*\r
                Authorization: k3y\r
                Content-Range: 0-8388608\r
                X-Empty:\r
                \r

                """
        )
    }

    @Test("A body shorter than its Content-Length is an interrupted answer")
    func truncated() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        }
        let sink = CollectingSink()
        await expectFailure(.isInterrupted) { () async throws(TransportError) in
            try await self.transport.send(.get(server.url), into: sink)
        }
        #expect(sink.bytes == Array("short".utf8))
    }

    @Test("Bytes beyond the Content-Length belong to nothing")
    func overlong() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshortand more")
            connection.waitForClose()
        }
        let response = try await self.transport.send(.get(server.url), into: nil)
        #expect(response.body == Array("short".utf8))
    }

    @Test("An error's endless body is cut off and the answer stands")
    func endlessError() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 500 Oops\r\nContent-Length: 1000000000\r\n\r\n")
            connection.write([UInt8](repeating: 65, count: 1 << 20))
            connection.waitForClose()
        }
        let response = try await self.transport.send(.get(server.url), into: nil)
        #expect(response.status == 500)
        #expect(response.body.count == HTTPResponse.maximumCollectedByteCount)
    }

    @Test("A 200 larger than the bound is not collected without end")
    func endlessAnswer() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer([UInt8](repeating: 65, count: 1001))
            connection.waitForClose()
        }
        await #expect(throws: TransportError.refusedBySink) {
            var request = HTTPRequest.get(server.url)
            request.maximumAnswerByteCount = 1000
            return try await self.transport.send(request, into: nil)
        }
    }

    @Test("A sink that takes no more ends the transfer")
    func refusingSink() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer(pattern(1 << 20))
        }
        await #expect(throws: TransportError.refusedBySink) {
            try await self.transport.send(.get(server.url), into: CollectingSink(limit: 1000))
        }
    }

    @Test("A sink hears how long a body is before its first byte, and may refuse all of it")
    func refusedLength() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer(pattern(1 << 20))
        }
        let sink = LengthSink()
        await #expect(throws: TransportError.refusedBySink) {
            try await self.transport.send(.get(server.url), into: sink)
        }
        #expect(sink.announced == 1 << 20)
    }

    @Test("A server that does not answer within the deadline has timed out")
    func deadline() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.waitForClose()
        }
        var request = HTTPRequest.get(server.url)
        request.deadline = .seconds(2)
        await #expect(throws: TransportError.timedOut) { try await self.transport.send(request, into: nil) }
    }

    @Test("A body that stands still has timed out long before the deadline")
    func stall() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
            connection.waitForClose()
        }
        var request = HTTPRequest.get(server.url)
        request.stallLimit = .seconds(1)
        let sink = CollectingSink()
        await #expect(throws: TransportError.timedOut) { try await self.transport.send(request, into: sink) }
        #expect(sink.bytes == Array("short".utf8))
    }

    @Test("Nobody listening is not being connected")
    func refused() async throws {
        let server = try LoopbackServer { _ in }
        let url = server.url
        server.stop()
        await expectFailure(.isNotConnected) { () async throws(TransportError) in
            try await self.transport.send(.get(url), into: nil)
        }
    }

    @Test("A change that died with a kept connection may have been done, also if nobody is there any more")
    func refusedAfterwards() async throws {
        let gone = Mutex<LoopbackServer?>(nil)
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer([])
            _ = connection.readHead()
            gone.withLock { $0?.stop() }
        }
        gone.withLock { $0 = server }
        let url = server.url
        let request = HTTPRequest(
            method: .post,
            url: url,
            headers: [],
            body: .none,
            deadline: .seconds(30),
            stallLimit: .seconds(30)
        )
        _ = try await self.transport.send(request, into: nil)
        await expectFailure(.isInterrupted) { () async throws(TransportError) in
            try await self.transport.send(request, into: nil)
        }
    }

    @Test(
        "A connection that ends within an answer's head is an interrupted answer",
        arguments: [
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        ]
    )
    func truncatedHead(head: String) async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write(head)
        }
        await expectFailure(.isInterrupted) { () async throws(TransportError) in
            try await self.transport.send(.get(server.url), into: nil)
        }
    }

    @Test("Something that speaks no HTTP is an interrupted answer")
    func garbage() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("220 mail.example ESMTP\r\n")
        }
        await expectFailure(.isInterrupted) { () async throws(TransportError) in
            try await self.transport.send(.get(server.url), into: nil)
        }
    }

    @Test("A server without TLS under an https URL is insecure, not interrupted")
    func plainUnderTLS() async throws {
        let server = try LoopbackServer { connection in
            connection.write("HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.waitForClose()
        }
        await expectFailure(.isInsecure) { () async throws(TransportError) in
            try await self.transport.send(.get("https://127.0.0.1:\(server.port)/"), into: nil)
        }
    }

    @Test(
        "What cannot be sent is refused before anything is",
        arguments: [
            ("ftp://127.0.0.1/", "X", "a"), ("http://127.0.0.1/", "X", "a\r\nY: b"),
            ("http://127.0.0.1/", "X: ", "a"), ("http://[", "X", "a"),
        ]
    )
    func invalid(url: String, name: String, value: String) async throws {
        var request = HTTPRequest.get(url)
        request.headers = [(name, value)]
        let sent = request
        await expectFailure(.isInvalidRequest) { () async throws(TransportError) in
            try await self.transport.send(sent, into: nil)
        }
    }
}

/// Wants no body whose length it is told.
private final class LengthSink: BodySink {
    private let length = Mutex<UInt64?>(nil)

    var announced: UInt64? { self.length.withLock(\.self) }

    func begin(_ count: UInt64) -> Bool {
        self.length.withLock { $0 = count }
        return false
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Issue.record("bytes came that were refused")
        return false
    }
}
