import TestKit
import Testing

@testable import Transport

@Suite("Many requests, and their end", .timeLimit(.minutes(5)))
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

    @Test("Stopping a request by its handle ends it, though its task goes on")
    func stop() async throws {
        let arrived = Event()
        let closed = Event()
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345")
            arrived.signal()
            connection.waitForClose()
            closed.signal()
        }
        let transport = try CurlTransport()
        let handle = TransferHandle(now: { .seconds(7) })
        var request = HTTPRequest.get(server.url)
        request.handle = handle
        let sent = request
        let task = Task { () async throws(TransportError) -> HTTPResponse in
            try await transport.send(sent, into: nil)
        }
        await arrived.wait()
        while handle.receivedByteCount < 5 { await Task.yield() }
        #expect(handle.firstByteMoment == .seconds(7))
        handle.stop()
        await #expect(throws: TransportError.cancelled) { try await task.value }
        await closed.wait()
        // Nothing is sent with a handle that was stopped before.
        await #expect(throws: TransportError.cancelled) { try await transport.send(sent, into: nil) }
        #expect(server.connectionCount == 1)
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
        // Used to its end: a server that is not any more takes no connection.
        #expect(server.connectionCount > 0)
    }

    @Test("A TLS file that is not there is said to be")
    func missingFile() async {
        let tls = TransportOptions.TLS(authoritiesFile: "/nowhere/ca.pem")
        await expectFailure(.isInvalidRequest) { () async throws(TransportError) in
            try CurlTransport(TransportOptions(tls: tls))
        }
    }
}
