import Glibc
import Synchronization
import TestKit
import Testing

@testable import Transport

/// A body of which only so much is ready, until more is.
private final class PausingReader: BodyReader {
    private struct State {
        var ready: Int
        var isBroken = false
        var resume: (@Sendable () -> Void)?
    }

    private let bytes: [UInt8]
    private let state: Mutex<State>
    let pauses = Tally()

    init(_ bytes: [UInt8], ready: Int) {
        self.bytes = bytes
        self.state = Mutex(State(ready: ready))
    }

    var count: UInt64 { UInt64(self.bytes.count) }

    func isReady(at offset: UInt64, _ resume: @escaping @Sendable () -> Void) -> Bool {
        let isReady = self.state.withLock { state in
            if state.isBroken || Int(offset) < state.ready { return true }
            state.resume = resume
            return false
        }
        if !isReady { self.pauses.add() }
        return isReady
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let ready = self.state.withLock { $0.isBroken ? 0 : $0.ready }
        let part = self.bytes[..<ready].dropFirst(Int(offset)).prefix(buffer.count)
        part.withUnsafeBytes { buffer.copyMemory(from: $0) }
        return part.isEmpty ? nil : part.count
    }

    /// More is ready, or nothing will be.
    func set(ready: Int?) {
        let resume = self.state.withLock { state in
            if let ready { state.ready = ready } else { state.isBroken = true }
            defer { state.resume = nil }
            return state.resume
        }
        resume?()
    }
}

@Suite("Bodies that are not ready", .timeLimit(.minutes(5)))
struct PausedBodyTests {
    private let transport: CurlTransport
    private let body = PausingReader(pattern(1 << 20), ready: 300_000)

    init() throws { self.transport = try CurlTransport() }

    private func put(
        _ server: LoopbackServer,
        limit: Duration = .seconds(30),
        handle: TransferHandle? = nil
    ) -> HTTPRequest {
        HTTPRequest(
            method: .put,
            url: server.url,
            body: .reader(self.body),
            deadline: limit,
            stallLimit: limit,
            handle: handle
        )
    }

    @Test("A body goes out as it becomes ready, and its sender knows when it is waited for")
    func resumed() async throws {
        let received = Mutex<[UInt8]>([])
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            let bytes = connection.readBody(1 << 20)
            received.withLock { $0 = bytes }
            connection.answer()
        }
        let handle = TransferHandle(now: { .zero })
        let told = Mutex<[Bool]>([])
        handle.whenPaused { isPaused in told.withLock { $0.append(isPaused) } }
        let request = self.put(server, handle: handle)
        let sending = Task { try await self.transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        self.body.set(ready: 600_000)
        await self.body.pauses.reached(2)
        self.body.set(ready: 1 << 20)
        #expect(try await sending.value.status == 200)
        #expect(received.withLock { $0 } == pattern(1 << 20))
        #expect(told.withLock { $0 } == [true, false, true, false])
    }

    @Test("A body that is waited for longer than any limit allows the server is no failure of the server")
    func longPause() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            _ = connection.readBody(1 << 20)
            connection.answer()
        }
        let request = self.put(server, limit: .seconds(2))
        let sending = Task { try await self.transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        // Three times the limit, and some looks of the loop.
        try await Task.sleep(for: .seconds(6))
        self.body.set(ready: 1 << 20)
        #expect(try await sending.value.status == 200)
    }

    @Test("A server that takes no body in time is given up, also after a pause")
    func stalledServer() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            _ = connection.readBody(1 << 20)
            connection.waitForClose()
        }
        let request = self.put(server, limit: .seconds(2))
        let sending = Task { try await self.transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        self.body.set(ready: 1 << 20)
        await #expect(throws: TransportError.timedOut) { try await sending.value }
    }

    @Test("A request that gets no connection within its deadline has timed out")
    func noConnection() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            _ = connection.readBody(1 << 20)
            connection.answer()
        }
        let transport = try CurlTransport(TransportOptions(maximumConnections: 1))
        let request = self.put(server)
        let sending = Task { try await transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        let limit = Duration.milliseconds(500)
        let other = HTTPRequest(method: .get, url: server.url, deadline: limit, stallLimit: limit)
        await #expect(throws: TransportError.notConnected("Timeout was reached")) {
            try await transport.send(other, into: nil)
        }
        self.body.set(ready: 1 << 20)
        #expect(try await sending.value.status == 200)
    }

    @Test("A body that turns out not to be had while it is waited for fails the request")
    func broken() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.waitForClose()
        }
        let request = self.put(server)
        let sending = Task { try await self.transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        self.body.set(ready: nil)
        await #expect(throws: TransportError.unreadableBody) { try await sending.value }
    }

    @Test("A server that closes while the body is waited for is noticed when the body goes on")
    func closed() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            _ = connection.readBody(300_000)
        }
        let request = self.put(server)
        let body = self.body
        Task {
            await body.pauses.reached(1)
            body.set(ready: 1 << 20)
        }
        await expectFailure(.isInterrupted) { () async throws(TransportError) in
            try await self.transport.send(request, into: nil)
        }
    }

    @Test("A request whose body is waited for can be cancelled, and is waited for no more")
    func cancelled() async throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.waitForClose()
        }
        let handle = TransferHandle(now: { .zero })
        let told = Mutex<[Bool]>([])
        handle.whenPaused { isPaused in told.withLock { $0.append(isPaused) } }
        let request = self.put(server, handle: handle)
        let sending = Task { try await self.transport.send(request, into: nil) }
        await self.body.pauses.reached(1)
        sending.cancel()
        await #expect(throws: TransportError.cancelled) { try await sending.value }
        #expect(told.withLock { $0 } == [true, false])
        // Comes too late, and does no harm.
        self.body.set(ready: 1 << 20)
    }
}
