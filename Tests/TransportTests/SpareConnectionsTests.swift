import Synchronization
import TestKit
import Testing

@testable import Transport

@Suite("Connections that are made before they are needed", .timeLimit(.minutes(5)))
final class SpareConnectionsTests: Sendable {
    /// What a server saw: requests, and how many connections have carried one.
    private struct Seen {
        var requestCount = 0
        var usedCount = 0
    }

    private let seen = Mutex(Seen())

    private func server() throws -> LoopbackServer {
        try LoopbackServer { connection in
            var isFirst = true
            while connection.readHead() != nil {
                defer { isFirst = false }
                let isFirst = isFirst
                self.seen.withLock { seen in
                    seen.requestCount += 1
                    if isFirst { seen.usedCount += 1 }
                }
                connection.answer(pattern(100))
            }
        }
    }

    private func connected(_ server: LoopbackServer, _ count: Int) async {
        while server.connectionCount < count { await Task.yield() }
    }

    @Test("Beside the first connection one more is made, several once a body is read; none sends anything")
    func counts() async throws {
        let server = try self.server()
        let transport = try CurlTransport(TransportOptions(spareConnections: 5))
        _ = try await transport.send(.get(server.url), into: nil)
        await self.connected(server, 2)
        for _ in 0..<3 { _ = try await transport.send(.get(server.url), into: nil) }
        #expect(server.connectionCount == 2)
        _ = try await transport.send(.get(server.url), into: CollectingSink())
        await self.connected(server, 6)
        for _ in 0..<3 { _ = try await transport.send(.get(server.url), into: CollectingSink()) }
        #expect(server.connectionCount == 6)
        #expect(self.seen.withLock { $0.requestCount } == 8)
        #expect(self.seen.withLock { $0.usedCount } == 1)
    }

    @Test("With the first of many there are as many as there may be; none where none are wanted")
    func all() async throws {
        for (spare, count) in [(1, 20), (0, 1)] {
            let server = try self.server()
            let transport = try CurlTransport(
                TransportOptions(maximumConnections: 20, spareConnections: spare)
            )
            var request = HTTPRequest.get(server.url)
            request.isFirstOfMany = true
            _ = try await transport.send(request, into: nil)
            await self.connected(server, count)
            for _ in 0..<3 { _ = try await transport.send(request, into: nil) }
            #expect(server.connectionCount == count)
        }
    }

    @Test("With those in use they are never more than allowed, and they are the ones that are used next")
    func bounded() async throws {
        let server = try self.server()
        let transport = try CurlTransport(TransportOptions(maximumConnections: 4, spareConnections: 7))
        _ = try await transport.send(.get(server.url), into: CollectingSink())
        await self.connected(server, 4)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 {
                group.addTask { _ = try await transport.send(.get(server.url), into: CollectingSink()) }
            }
            try await group.waitForAll()
        }
        #expect(server.connectionCount == 4)
    }
}
