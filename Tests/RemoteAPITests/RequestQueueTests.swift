import Synchronization
import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("Which requests are on the way, and which wait", .timeLimit(.minutes(5)))
struct RequestQueueTests {
    @Test(
        "What is asked for ahead of need leaves two of the places free, and large bodies an eighth",
        arguments: [(true, 63), (false, 56)]
    )
    func reserve(isSmall: Bool, count: Int) async throws {
        let queue = RequestQueue(placeCount: 64)
        for _ in 0..<count { _ = try await queue.enter(.ahead(), isSmall: isSmall) }
        let later = Waiting(queue, .ahead(), isSmall: isSmall)
        await queue.reached(queued: 1)
        for _ in count..<64 { _ = try await queue.enter(.waitedFor) }
        #expect(queue.tryEnter() == nil)
        #expect(queue.figures.inFlight == 64)
        #expect(later.order.names.isEmpty)
        later.task.cancel()
    }

    @Test("No more requests than there are places are on the way at once, however many wait")
    func bound() async throws {
        let queue = RequestQueue(placeCount: 64)
        for _ in 0..<64 { _ = try await queue.enter(.waitedFor) }
        #expect(queue.tryEnter() == nil)
        let waiting = (0..<36).map { _ in Task { try await queue.enter(.waitedFor) } }
        for task in waiting { task.cancel() }
        for task in waiting { await #expect(throws: RemoteError.cancelled) { try await task.value } }
        var counters = RemoteCounters()
        queue.count(into: &counters)
        #expect(counters.inFlight == 64 && counters.inFlightMaximum == 64)
    }

    @Test("A request that is waited for goes before a thousand that are ahead of need, which came first")
    func priority() async throws {
        let queue = RequestQueue(placeCount: 2)
        let places = [try await queue.enter(.waitedFor), try await queue.enter(.waitedFor)]
        let order = Order()
        let ahead = (0..<1000).map { Waiting(queue, .ahead(), "ahead \($0)", order) }
        await queue.reached(queued: 1000)
        let urgent = Waiting(queue, .waitedFor, "urgent", order)
        await queue.reached(queued: 1001)
        queue.leave(places[0], .answered)
        _ = try await urgent.task.value
        #expect(order.names == ["urgent"])
        for waiting in ahead { waiting.task.cancel() }
    }

    @Test("A queued request that somebody begins to wait for takes its turn with those that are waited for")
    func raised() async throws {
        let queue = RequestQueue(placeCount: 1)
        let place = try await queue.enter(.waitedFor)
        let order = Order()
        var all: [Waiting] = []
        let urgency = RequestUrgency.ahead()
        for (index, each) in [.ahead(), .waitedFor, urgency, .waitedFor].enumerated() {
            all.append(Waiting(queue, each, "\(index)", order, leaves: true))
            await queue.reached(queued: index + 1)
        }
        urgency.raise()
        queue.leave(place, .answered)
        for waiting in all { _ = try await waiting.task.value }
        // In the order in which they came to be waited for.
        #expect(order.names == ["1", "3", "2", "0"])
    }

    @Test("A request that is raised takes a place which is kept for what is waited for")
    func raisedIntoReserve() async throws {
        let queue = RequestQueue(placeCount: 8)
        for _ in 0..<7 { _ = try await queue.enter(.ahead()) }
        let urgency = RequestUrgency.ahead()
        let waiting = Waiting(queue, urgency)
        await queue.reached(queued: 1)
        urgency.raise()
        _ = try await waiting.task.value
        #expect(queue.figures.inFlight == 8)
        #expect(queue.figures.queued == 0)
    }

    @Test("Cancelling a queued request takes it out at once, and the next one has its turn")
    func cancelled() async throws {
        let queue = RequestQueue(placeCount: 1)
        let place = try await queue.enter(.waitedFor)
        let first = Waiting(queue, .waitedFor)
        await queue.reached(queued: 1)
        let second = Waiting(queue, .waitedFor)
        await queue.reached(queued: 2)
        first.task.cancel()
        #expect(await failure { () async throws(RemoteError) in try await first.result() } == .cancelled)
        #expect(queue.figures.queued == 1)
        queue.leave(place, .answered)
        _ = try await second.task.value
        #expect(queue.figures.inFlight == 1)
    }

    @Test("A task that is cancelled already never queues")
    func cancelledBefore() async throws {
        let queue = RequestQueue(placeCount: 1)
        _ = try await queue.enter(.waitedFor)
        let error = await Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await failure { () async throws(RemoteError) in try await queue.enter(.waitedFor) }
        }.value
        #expect(error == .cancelled)
        #expect(queue.figures.queued == 0)
    }

    @Test("Requests that come, wait, are raised and are cancelled at any moment leave no place taken")
    func storm() async throws {
        let queue = RequestQueue(placeCount: 4)
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<2000 {
                group.addTask {
                    let urgency = RequestUrgency.ahead()
                    let task = Task {
                        let place = try await queue.enter(urgency)
                        await Task.yield()
                        queue.leave(place, index % 50 == 0 ? .refused : .answered)
                    }
                    for _ in 0..<index % 5 { await Task.yield() }
                    if index % 3 == 0 { urgency.raise() }
                    if index % 7 == 0 { task.cancel() }
                    _ = await task.result
                }
            }
        }
        #expect(queue.figures.inFlight == 0)
        #expect(queue.figures.queued == 0)
        #expect(queue.figures.inFlightMaximum <= 4)
    }

    @Test("A refusal halves the number on the way, once for all that were there; answers let it grow")
    func window() {
        var window = ConcurrencyWindow(maximum: 64)
        for _ in 0..<64 { window.shrink(round: 0) }
        #expect(window.limit == 32)
        #expect(window.aheadLimit(isSmall: false) == 28)
        // Those that were on the way before say nothing of the new size.
        for _ in 0..<64 { window.grow(round: 0) }
        #expect(window.limit == 32)
        for _ in 0..<33 { window.grow(round: window.round) }
        #expect(window.limit == 33)
        for _ in 0..<10_000 { window.grow(round: window.round) }
        #expect(window.limit == 64)
    }

    @Test("However often the server refuses, two requests may be on the way, one of them ahead of need")
    func smallestWindow() {
        var window = ConcurrencyWindow(maximum: 64)
        for round in 0..<UInt64(20) { window.shrink(round: round) }
        #expect(window.limit == 2)
        #expect(window.aheadLimit(isSmall: true) == 1)
        var one = ConcurrencyWindow(maximum: 1)
        one.shrink(round: 0)
        #expect(one.limit == 1)
        #expect(one.aheadLimit(isSmall: true) == 1)
    }

    @Test(
        "A 503 or 429 lets fewer requests on the way, any other failure does not",
        arguments: [429, 503, 500]
    )
    func refusals(status: Int) async throws {
        let service = try ScriptedService([.text(status), .listing()])
        _ = try await service.files.list(.root)
        #expect(service.client.counters.inFlightLimit == (status == 500 ? 64 : 32))
        #expect(service.client.counters.inFlight == 0)
    }
}

/// Names in the order in which they were noted.
private final class Order: Sendable {
    private let noted = Mutex<[String]>([])

    var names: [String] { self.noted.withLock { $0 } }

    func note(_ name: String) { self.noted.withLock { $0.append(name) } }
}

/// A task that waits for a place.
private struct Waiting {
    let order: Order
    let task: Task<RequestQueue.Place, any Error>

    init(
        _ queue: RequestQueue,
        _ urgency: RequestUrgency,
        _ name: String = "",
        _ order: Order = Order(),
        isSmall: Bool = true,
        leaves: Bool = false
    ) {
        self.order = order
        self.task = Task {
            let place = try await queue.enter(urgency, isSmall: isSmall)
            order.note(name)
            if leaves { queue.leave(place, .answered) }
            return place
        }
    }

    func result() async throws(RemoteError) -> RequestQueue.Place {
        switch await self.task.result {
        case .success(let place): return place
        case .failure(let error): throw error as? RemoteError ?? .timedOut
        }
    }
}

extension RequestQueue {
    fileprivate var figures: RemoteCounters {
        var counters = RemoteCounters()
        self.count(into: &counters)
        return counters
    }

    /// Waits until so many are queued; the suite's time limit bounds it.
    fileprivate func reached(queued: Int) async {
        while self.figures.queued < queued { await Task.yield() }
    }
}
