import Synchronization
import TestKit
import Testing

@testable import Transport

@Suite("Bodies sent", .timeLimit(.minutes(5)))
struct CurlUploadTests {
    private let transport: CurlTransport

    init() throws { self.transport = try CurlTransport() }

    @Test("A part goes out with its exact length and waits for no 100 Continue")
    func upload() async throws {
        let body = pattern(2 << 20)
        let received = Mutex((head: "", body: [UInt8]()))
        let server = try LoopbackServer { connection in
            let head = connection.readHead() ?? ""
            let bytes = connection.readBody(2 << 20)
            received.withLock { $0 = (head, bytes) }
            connection.answer()
        }
        let request = HTTPRequest(
            method: .put,
            url: server.url + "/f",
            body: .reader(ArrayReader(body)),
            deadline: .seconds(30),
            stallLimit: .seconds(30)
        )
        let response = try await self.transport.send(request, into: nil)
        #expect(response.status == 200)
        let (head, bytes) = received.withLock { $0 }
        #expect(head.hasPrefix("PUT /f HTTP/1.1\r\n"))
        #expect(head.contains("\r\nContent-Length: 2097152\r\n"))
        #expect(!head.contains("Expect"))
        #expect(!head.contains("Transfer-Encoding"))
        #expect(!head.contains("Content-Type"))
        #expect(bytes == body)
        #expect(self.transport.counters.bytesSent == 2 << 20)
    }

    @Test(
        "A small body goes out whole, and none goes out as none",
        arguments: [
            (HTTPRequest.Method.post, BodySource.bytes(Array("{}\n".utf8)), "{}\n", String?.some("3")),
            (.post, .none, "", "0"), (.put, .bytes([]), "", "0"), (.put, .reader(ArrayReader([])), "", "0"),
            (.delete, .none, "", nil), (.get, .bytes(Array("{}".utf8)), "{}", "2"),
        ]
    )
    func smallBody(
        method: HTTPRequest.Method,
        body: BodySource,
        expected: String,
        length: String?
    ) async throws {
        let received = Mutex((head: "", body: [UInt8]()))
        let server = try LoopbackServer { connection in
            let head = connection.readHead() ?? ""
            let bytes = connection.readBody(expected.utf8.count)
            received.withLock { $0 = (head, bytes) }
            connection.answer()
        }
        let request = HTTPRequest(
            method: method,
            url: server.url + "/f",
            body: body,
            deadline: .seconds(30),
            stallLimit: .seconds(30)
        )
        _ = try await self.transport.send(request, into: nil)
        let (head, bytes) = received.withLock { $0 }
        #expect(head.hasPrefix("\(method.rawValue) /f HTTP/1.1\r\n"))
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
        let lengths = head.split(separator: "\r\n").filter { $0.hasPrefix("Content-Length: ") }
        #expect(lengths.map { $0.dropFirst(16) }.first.map(String.init) == length)
        #expect(!head.contains("Content-Type"))
    }

    @Test("A body that cannot be read fails the request, whatever the server says")
    func unreadable() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.waitForClose()
        }
        let request = HTTPRequest(
            method: .put,
            url: server.url,
            body: .reader(ArrayReader(pattern(1000), declared: 2000)),
            deadline: .seconds(30),
            stallLimit: .seconds(30)
        )
        await #expect(throws: TransportError.unreadableBody) {
            try await self.transport.send(request, into: nil)
        }
    }

    @Test("An answer that comes before the whole body was sent is the answer")
    func earlyAnswer() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer(Array("full".utf8), status: "413 Too Large")
            connection.waitForClose()
        }
        let request = HTTPRequest(
            method: .put,
            url: server.url,
            body: .reader(ArrayReader(pattern(32 << 20))),
            deadline: .seconds(30),
            stallLimit: .seconds(30)
        )
        let response = try await self.transport.send(request, into: nil)
        #expect(response.status == 413)
        #expect(response.body == Array("full".utf8))
    }

    @Test("A POST that dies with a kept connection is not sent again, a GET is", arguments: [true, false])
    func keptConnection(isPost: Bool) async throws {
        let heads = Mutex<[String]>([])
        let server = try LoopbackServer { connection in
            var isFirst = true
            while let head = connection.readHead() {
                let count = heads.withLock { heads in
                    heads.append(String(head.prefix { $0 != " " }))
                    return heads.count
                }
                // The second request of all meets a server that just closes.
                if count == 2, !isFirst { return }
                isFirst = false
                connection.answer()
            }
        }
        _ = try await self.transport.send(.get(server.url), into: nil)
        var request = HTTPRequest.get(server.url)
        request.method = isPost ? .post : .get
        if isPost {
            let sent = request
            await expectFailure(.isInterrupted) { () async throws(TransportError) in
                try await self.transport.send(sent, into: nil)
            }
            #expect(heads.withLock { $0 } == ["GET", "POST"])
        } else {
            _ = try await self.transport.send(request, into: nil)
            #expect(heads.withLock { $0 } == ["GET", "GET", "GET"])
        }
    }
}
