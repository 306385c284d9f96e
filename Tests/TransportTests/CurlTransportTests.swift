import Synchronization
import Testing

@testable import Transport

@Suite("Requests over a real connection", .timeLimit(.minutes(1)))
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
        let transport = try CurlTransport(TransportOptions(maximumAnswerByteCount: 1000))
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.answer([UInt8](repeating: 65, count: 1001))
            connection.waitForClose()
        }
        await #expect(throws: TransportError.refusedBySink) {
            try await transport.send(.get(server.url), into: nil)
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

    @Test("A server that does not answer within the deadline has timed out")
    func deadline() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.waitForClose()
        }
        var request = HTTPRequest.get(server.url)
        request.deadline = .milliseconds(150)
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

@Suite("Bodies sent", .timeLimit(.minutes(1)))
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

@Suite("Many requests, and their end", .timeLimit(.minutes(1)))
struct CurlLoopTests {
    @Test("Cancelling the task ends the request at once, and the connection with it")
    func cancel() async throws {
        let arrived = Event()
        let closed = Event()
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            arrived.signal()
            connection.waitForClose()
            closed.signal()
        }
        let transport = try CurlTransport()
        let task = Task { () async throws(TransportError) -> HTTPResponse in
            try await transport.send(.get(server.url), into: nil)
        }
        await arrived.wait()
        task.cancel()
        await #expect(throws: TransportError.cancelled) { try await task.value }
        await closed.wait()
        #expect(transport.counters.cancellations == 1)
        #expect(transport.counters.inFlight == 0)
    }

    @Test("A task cancelled before it sends, sends nothing")
    func cancelledBefore() async throws {
        let server = try LoopbackServer { $0.answer() }
        let transport = try CurlTransport()
        let task = Task { () async throws(TransportError) -> HTTPResponse in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.send(.get(server.url), into: nil)
        }
        await #expect(throws: TransportError.cancelled) { try await task.value }
        #expect(server.connectionCount == 0)
    }

    @Test("Closing fails what is on its way and all that comes later")
    func close() async throws {
        let arrived = Event()
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            arrived.signal()
            connection.waitForClose()
        }
        let transport = try CurlTransport()
        let task = Task { () async throws(TransportError) -> HTTPResponse in
            try await transport.send(.get(server.url), into: nil)
        }
        await arrived.wait()
        transport.close()
        await #expect(throws: TransportError.cancelled) { try await task.value }
        await #expect(throws: TransportError.cancelled) {
            try await transport.send(.get(server.url), into: nil)
        }
    }

    @Test("One connection serves one request after another")
    func reuse() async throws {
        let server = try LoopbackServer { connection in
            while connection.readHead() != nil { connection.answer() }
        }
        let transport = try CurlTransport()
        for _ in 0..<20 { _ = try await transport.send(.get(server.url), into: nil) }
        #expect(server.connectionCount == 1)
        #expect(transport.counters.connections == 1)
        #expect(transport.counters.responses == 20)
    }

    @Test("Many at once share no more connections than allowed, and each gets its own answer")
    func bounded() async throws {
        let server = try LoopbackServer { connection in
            while let head = connection.readHead() {
                connection.answer(Array(head.split(separator: " ")[1].utf8))
            }
        }
        let transport = try CurlTransport(TransportOptions(maximumConnections: 4))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                group.addTask {
                    let response = try await transport.send(.get(server.url + "/\(index)"), into: nil)
                    #expect(response.body == Array("/\(index)".utf8))
                }
            }
            try await group.waitForAll()
        }
        #expect(server.connectionCount <= 4)
    }

    @Test("Requests cancelled at any moment end exactly once each")
    func cancelStorm() async throws {
        let server = try LoopbackServer { connection in
            while connection.readHead() != nil { connection.answer(pattern(10_000)) }
        }
        let transport = try CurlTransport()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<300 {
                group.addTask {
                    let task = Task {
                        try await transport.send(.get(server.url), into: CollectingSink())
                    }
                    for _ in 0..<index % 7 { await Task.yield() }
                    task.cancel()
                    _ = await task.result
                }
            }
        }
        #expect(transport.counters.inFlight == 0)
        let response = try await transport.send(.get(server.url), into: nil)
        #expect(response.body == pattern(10_000))
    }

    @Test("A TLS file that is not there is said to be")
    func missingFile() async {
        let tls = TransportOptions.TLS(authoritiesFile: "/nowhere/ca.pem")
        await expectFailure(.isInvalidRequest) { () async throws(TransportError) in
            try CurlTransport(TransportOptions(tls: tls))
        }
    }
}

// What the tests send, and with what they take it.

/// Bytes with a period of 251, a prime, so that nothing misplaced compares equal.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) } }

extension HTTPRequest {
    static func get(_ url: String) -> HTTPRequest {
        HTTPRequest(method: .get, url: url, deadline: .seconds(30), stallLimit: .seconds(30))
    }
}

final class CollectingSink: BodySink {
    private let collected = Mutex<[UInt8]>([])
    private let limit: Int

    init(limit: Int = .max) { self.limit = limit }

    var bytes: [UInt8] { self.collected.withLock { $0 } }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.collected.withLock { collected in
            guard collected.count + bytes.count <= self.limit else { return false }
            collected.append(contentsOf: bytes)
            return true
        }
    }
}

struct ArrayReader: BodyReader {
    let bytes: [UInt8]
    let count: UInt64

    init(_ bytes: [UInt8], declared: UInt64? = nil) {
        self.bytes = bytes
        self.count = declared ?? UInt64(bytes.count)
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard offset < UInt64(self.bytes.count) else { return nil }
        let part = self.bytes[Int(offset)...].prefix(buffer.count)
        part.withUnsafeBytes { buffer.copyMemory(from: $0) }
        return part.count
    }
}

/// Expects a failure of a kind.
func expectFailure<Value>(
    _ kind: FailureKind,
    _ body: () async throws(TransportError) -> Value,
    sourceLocation: SourceLocation = #_sourceLocation
) async {
    do throws(TransportError) {
        _ = try await body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch {
        #expect(kind.matches(error), "\(error)", sourceLocation: sourceLocation)
    }
}

/// Kinds of failure, whatever their text, which must be one line.
struct FailureKind: Sendable {
    let matches: @Sendable (TransportError) -> Bool
}

extension FailureKind {
    static let isInterrupted = FailureKind {
        if case .interrupted(let text) = $0 { text.isLine } else { false }
    }
    static let isNotConnected = FailureKind {
        if case .notConnected(let text) = $0 { text.isLine } else { false }
    }
    static let isInsecure = FailureKind { if case .insecure(let text) = $0 { text.isLine } else { false } }
    static let isInvalidRequest = FailureKind {
        if case .invalidRequest(let text) = $0 { text.isLine } else { false }
    }
}

extension String {
    var isLine: Bool { !self.isEmpty && !self.contains(where: \.isNewline) }
}
