import Synchronization
import TestKit
import Testing
import Transport

@testable import RemoteAPI

@Suite("Requests that stand still are asked again", .timeLimit(.minutes(5)))
struct StallTests {
    /// So many answers that later requests can be compared with them.
    private static let usual = (0..<StallDetector.leastHistory)
    /// So many parts that a later one can be compared with them.
    private static let parts = (0..<StandstillDetector.leastHistory)

    @Test("A read that stands still is asked again from where it is, and the sink gets every byte once")
    func read() async throws {
        let service = try ScriptedService(
            Self.usual.map { _ in .bytes(200, pattern(70_000)) }
                + [.stalled(pattern(20_000)), .bytes(200, pattern(50_000, from: 20_000))]
        )
        for _ in Self.usual {
            _ = try await service.files.read(path("a"), 0..<70_000, into: CollectingSink())
        }
        let sink = CollectingSink()
        let count = try await service.files.read(path("b"), 0..<70_000, into: sink)
        #expect(count == 70_000)
        #expect(sink.bytes == pattern(70_000) && sink.joins == [20_000])
        #expect(service.ranges.suffix(2) == ["0-70000", "20000-70000"])
        #expect(service.client.counters.hedges == 1)
        #expect(service.client.counters.retries == 0)
        #expect(service.client.counters.inFlight == 0)
    }

    @Test("A read without a first byte, a size and a listing are asked again, once")
    func others() async throws {
        for kind in ["read", "size", "list"] {
            let answer: Step = kind == "list" ? .listing() : kind == "size" ? .size(7) : .bytes(200, [1, 2])
            let service = try ScriptedService(Self.usual.map { _ in answer } + [.stalled([]), answer])
            for _ in 0...Self.usual.count {
                switch kind {
                case "read": _ = try await service.files.read(path("a"), 0..<2, into: CollectingSink())
                case "size": #expect(try await service.files.size(of: path("a")) == 7)
                default: _ = try await service.files.list(.root)
                }
            }
            #expect(service.client.counters.hedges == 1)
            #expect(service.transport.restCount == 0)
            #expect(service.client.counters.inFlight == 0)
        }
    }

    @Test("A second request that fails leaves the first one to itself")
    func failingSecond() async throws {
        let service = try ScriptedService(Self.usual.map { _ in .size(7) } + [.stalled([]), .text(500)])
        for _ in Self.usual { _ = try await service.files.size(of: path("a")) }
        let task = Task {
            await failure { () async throws(RemoteError) in try await service.files.size(of: path("a")) }
        }
        await service.transport.stalls.reached()
        while service.transport.restCount > 0 { await Task.yield() }
        while service.client.counters.inFlight > 1 { await Task.yield() }
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(service.client.counters.inFlight == 0)
    }

    @Test("A second request that fails after it took over fails the attempt, and the read goes on from there")
    func brokenSecond() async throws {
        let service = try ScriptedService(
            Self.usual.map { _ in .bytes(200, [1, 2]) }
                + [
                    .stalled([]), .broken(pattern(5), .interrupted("reset")),
                    .bytes(200, pattern(15, from: 5)),
                ]
        )
        for _ in Self.usual {
            _ = try await service.files.read(path("a"), 0..<2, into: CollectingSink())
        }
        let sink = CollectingSink()
        #expect(try await service.files.read(path("b"), 0..<20, into: sink) == 20)
        #expect(sink.bytes == pattern(20))
        #expect(service.ranges.suffix(3) == ["0-20", "0-20", "5-20"])
        #expect(service.client.counters.retries == 1)
    }

    @Test("What nobody waits for is not asked again, until somebody does")
    func ahead() async throws {
        let service = try ScriptedService(Self.usual.map { _ in .size(7) } + [.stalled([]), .size(8)])
        for _ in Self.usual { _ = try await service.files.size(of: path("a")) }
        let urgency = RequestUrgency.ahead()
        let task = Task { try await service.files.size(of: path("a"), urgency: urgency) }
        await service.transport.stalls.reached()
        let start = service.clock.elapsed
        while service.clock.elapsed < start + .seconds(60) { await Task.yield() }
        #expect(service.client.counters.hedges == 0)
        urgency.raise()
        #expect(try await task.value == 8)
        #expect(service.client.counters.hedges == 1)
    }

    @Test("Nothing is asked again while the server said that it is not to be asked")
    func retryAfter() async throws {
        let service = try ScriptedService(
            Self.usual.map { _ in .size(7) }
                + [.stalled([]), .text(503, "", ["retry-after": "20"]), .size(8)],
            retries: 0
        )
        for _ in Self.usual { _ = try await service.files.size(of: path("a")) }
        let urgency = RequestUrgency.ahead()
        let task = Task { try await service.files.size(of: path("a"), urgency: urgency) }
        await service.transport.stalls.reached()
        let refusal = await failure { () async throws(RemoteError) in
            try await service.files.size(of: path("b"))
        }
        let refused = service.clock.elapsed
        #expect(refusal != nil)
        // Not by its urgency alone was it left alone until now.
        urgency.raise()
        #expect(try await task.value == 8)
        #expect(service.clock.elapsed >= refused + .seconds(20))
        #expect(service.client.counters.hedges == 1)
    }

    @Test("A part that stands still where others went on is cut off and sent again at once, whole")
    func part() async throws {
        let service = try ScriptedService(
            Self.parts.map { _ in .text(200) } + [.stalled([]), .text(200)],
            retries: 0
        )
        for part in Self.parts { try await service.put(part) }
        try await service.put(3)
        #expect(service.ranges.suffix(2) == ["[U]:3000-4000", "[U]:3000-4000"])
        #expect(service.transport.sent.suffix(2).allSatisfy { $0.bytes == pattern(1000) })
        #expect(service.client.counters.hedges == 1)
        #expect(service.client.counters.retries == 0)
        #expect(service.client.counters.inFlight == 0)
    }

    @Test("A part that stands still is cut off once only")
    func partOnce() async throws {
        let service = try ScriptedService(
            Self.parts.map { _ in .text(200) } + [.stalled([]), .stalled([])],
            retries: 0
        )
        for part in Self.parts { try await service.put(part) }
        let task = Task { await failure { () async throws(RemoteError) in try await service.put(3) } }
        await service.transport.stalls.reached(2)
        // Meanwhile another one is watched, and by that all are.
        let other = Task { await failure { () async throws(RemoteError) in try await service.put(4) } }
        _ = await other.value
        #expect(service.client.counters.hedges == 1)
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(service.client.counters.inFlight == 0)
    }

    @Test("Cancelling ends both requests")
    func cancelled() async throws {
        let service = try ScriptedService(Self.usual.map { _ in .size(7) } + [.stalled([]), .stalled([])])
        for _ in Self.usual { _ = try await service.files.size(of: path("a")) }
        let task = Task {
            await failure { () async throws(RemoteError) in try await service.files.size(of: path("a")) }
        }
        await service.transport.stalls.reached(2)
        task.cancel()
        #expect(await task.value == .cancelled)
        while service.client.counters.inFlight > 0 { await Task.yield() }
    }
}

extension ScriptedService {
    /// Sends a part of 1000 bytes.
    fileprivate func put(_ part: Int) async throws(RemoteError) {
        let body = ArrayReader(pattern(1000))
        try await self.files.putPart(path("a"), uploadID("U"), at: UInt64(part) * 1000, body: body)
    }
}

@Suite("A body that two requests fill")
struct SharedBodyTests {
    private func give(_ lane: any BodySink, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { lane.receive($0) }
    }

    @Test("What the first one brought meanwhile is dropped from the second one's bytes")
    func catchingUp() throws {
        let sink = CollectingSink()
        let body = SharedBody(sink, limit: 100)
        let taken = Tally()
        let first = body.first()
        #expect(self.give(first, pattern(10)))
        let second = try #require(body.second { taken.add() })
        #expect(second.start == 10)
        #expect(self.give(first, pattern(20, from: 10)))
        #expect(self.give(second, pattern(15, from: 10)))
        #expect(taken.count == 0 && !body.isOvertaken && !second.isAbreast)
        #expect(self.give(second, pattern(10, from: 25)))
        #expect(taken.count == 1 && body.isOvertaken && second.isAbreast)
        // It is too late for the first one.
        #expect(!self.give(first, pattern(10, from: 30)))
        #expect(self.give(second, pattern(65, from: 35)))
        #expect(sink.bytes == pattern(100))
        #expect(taken.count == 1)
    }

    @Test("A first one that goes on ahead of the second keeps the body")
    func recovered() throws {
        let sink = CollectingSink()
        let body = SharedBody(sink, limit: 100)
        let first = body.first()
        let second = try #require(body.second {})
        #expect(self.give(first, pattern(100)))
        #expect(self.give(second, pattern(100)))
        #expect(!body.isOvertaken)
        #expect(sink.bytes == pattern(100))
    }

    @Test("With all that was asked for there, a second request has nothing to ask for")
    func complete() {
        let body = SharedBody(CollectingSink(), limit: 10)
        #expect(self.give(body.first(), pattern(9)))
        #expect(body.second {}?.start == 9)
        let complete = SharedBody(CollectingSink(), limit: 10)
        #expect(self.give(complete.first(), pattern(10)))
        #expect(complete.second {} == nil)
    }

    @Test("More than was asked for is refused, and after its end nothing is handed on")
    func bounds() {
        let sink = CollectingSink()
        let body = SharedBody(sink, limit: 10)
        #expect(!self.give(body.first(), pattern(11)))
        #expect(body.hasOverflowed)
        let closed = SharedBody(sink, limit: 10)
        closed.close()
        #expect(!self.give(closed.first(), pattern(1)))
        #expect(sink.bytes.isEmpty)
    }
}
