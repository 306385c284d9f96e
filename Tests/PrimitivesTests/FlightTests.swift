import Synchronization
import TestKit
import Testing

@testable import Primitives

@Suite("Values waited for, and equal requests joined", .timeLimit(.minutes(5)))
struct FlightTests {
    @Test("A value set before it is waited for is there")
    func early() async {
        let shot = OneShot<Int>()
        #expect(shot.resolve(7))
        #expect(await shot.wait() == 7)
    }

    @Test("A value set while it is waited for arrives, and only the first one")
    func late() async {
        let shot = OneShot<Int>()
        let waiter = Task { await shot.wait() }
        await Task.yield()
        #expect(shot.resolve(7))
        #expect(!shot.resolve(8))
        #expect(await waiter.value == 7)
    }

    @Test("Who was cancelled gets nothing, and who sets the value is told so")
    func cancelled() async {
        let shot = OneShot<Int>()
        let waiter = Task { await shot.wait() }
        waiter.cancel()
        #expect(await waiter.value == nil)
        #expect(!shot.resolve(7))
    }

    @Test("A value and a cancellation at the same moment are either, and both sides agree")
    func race() async {
        for _ in 0..<200 {
            let shot = OneShot<Int>()
            let waiter = Task { await shot.wait() }
            let canceller = Task { waiter.cancel() }
            let isTaken = shot.resolve(7)
            await canceller.value
            #expect((await waiter.value == 7) == isTaken)
        }
    }

    @Test("Ten who ask for the same at once get one answer of one piece of work")
    func joining() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let runs = Tally()
        // Each has asked when it is made: an immediate task runs until it first waits.
        let readers = (0..<10).map { _ in
            Task.immediate {
                await flight.run("a") {
                    runs.add()
                    _ = await hold.pass()
                    return 7
                }
            }
        }
        #expect(flight.count == 1)
        hold.release()
        for reader in readers { #expect(await reader.value == 7) }
        #expect(runs.count == 1)
        #expect(flight.count == 0)
    }

    @Test("Work begun ahead of need is told once of the first who waits for it, and of nobody ahead of need")
    func raising() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let raised = Tally()
        @Sendable func work() async -> Int { await hold.pass() ? 7 : -1 }
        let first = flight.begin("a", ahead: { raised.add() }, work)
        let second = flight.begin("a", ahead: { Issue.record("the work of another one") }, work)
        #expect(raised.count == 0)
        let waiting = [flight.begin("a", work), flight.begin("a", work)]
        #expect(raised.count == 1)
        let other = flight.begin("b", ahead: { raised.add() }, work)
        let joined = flight.join("b")
        #expect(raised.count == 2)
        hold.release()
        for waiting in waiting + [first, second, other, joined].compactMap(\.self) {
            #expect(await flight.wait(waiting) == 7)
        }
    }

    @Test("Who waits for work ahead that joined other work ahead waits for that too")
    func linked() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let raised = Tally()
        let linked = Mutex<(@Sendable () -> Void)?>(nil)
        @Sendable func work() async -> Int { await hold.pass() ? 7 : -1 }
        let first = flight.begin(
            "a",
            ahead: { raised.add() },
            joined: { _ in Issue.record("nothing to join") },
            work
        )
        let second = flight.begin("a", ahead: {}, joined: { act in linked.withLock { $0 = act } }, work)
        #expect(raised.count == 0)
        linked.withLock { $0 }?()
        linked.withLock { $0 }?()
        #expect(raised.count == 1)
        hold.release()
        for waiting in [first, second] { #expect(await flight.wait(waiting) == 7) }
        // Of work that has ended nobody is told.
        let later = flight.begin("a", ahead: { Issue.record("other work") }, work)
        linked.withLock { $0 }?()
        #expect(await flight.wait(later) == 7)
    }

    @Test("Another key is not joined")
    func otherKey() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let first = Task.immediate { await flight.run("a") { await hold.pass() ? 1 : -1 } }
        #expect(await flight.run("b") { 3 } == 3)
        hold.release()
        #expect(await first.value == 1)
    }

    @Test("What was answered is not remembered: who asks later starts new work")
    func later() async {
        let flight = SingleFlight<String, Int>()
        #expect(await flight.run("a") { 1 } == 1)
        #expect(await flight.run("a") { 2 } == 2)
    }

    @Test("Work that is under way can be joined, and there is nothing to join before and after")
    func joinsOnly() async throws {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        #expect(flight.join("a") == nil)
        let begun = flight.begin("a") { await hold.pass() ? 7 : -1 }
        #expect(flight.isUnderWay("a") && !flight.isUnderWay("b"))
        let joined = try #require(flight.join("a"))
        hold.release()
        #expect(await flight.wait(begun) == 7)
        #expect(await flight.wait(joined) == 7)
        #expect(flight.join("a") == nil)
    }

    @Test("The work goes on when one of two who wait is cancelled")
    func oneOfTwo() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let work: @Sendable () async -> Int = { await hold.pass() ? 7 : -1 }
        let first = Task { await flight.run("a", work) }
        await hold.reached()
        let second = Task.immediate { await flight.run("a", work) }
        second.cancel()
        #expect(await second.value == nil)
        #expect(flight.count == 1)
        hold.release()
        #expect(await first.value == 7)
    }

    @Test("The work goes on when the one who began it is cancelled and another waits")
    func beginnerCancelled() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let work: @Sendable () async -> Int = { await hold.pass() ? 7 : -1 }
        let first = Task { await flight.run("a", work) }
        await hold.reached()
        let second = Task.immediate { await flight.run("a", work) }
        first.cancel()
        #expect(await first.value == nil)
        hold.release()
        #expect(await second.value == 7)
        #expect(hold.count == 1)
    }

    @Test("The work is cancelled with the last who waits, and who asks then begins anew")
    func lastCancelled() async {
        let flight = SingleFlight<String, Int>()
        let hold = Hold()
        let ended = Tally()
        let first = Task {
            await flight.run("a") {
                // Ends by its cancellation alone.
                let isReleased = await hold.pass()
                ended.add()
                return isReleased ? 1 : -1
            }
        }
        await hold.reached()
        first.cancel()
        #expect(await first.value == nil)
        await ended.reached()
        #expect(flight.count == 0)
        #expect(await flight.run("a") { 2 } == 2)
    }

    @Test("An answer of work that was given up is not given to who began anew")
    func lateAnswer() async {
        let flight = SingleFlight<String, Int>()
        let stubborn = Hold()
        let ended = Tally()
        let first = Task {
            await flight.run("a") {
                // Goes on although it is cancelled.
                await Task { _ = await stubborn.pass() }.value
                ended.add()
                return 1
            }
        }
        await stubborn.reached()
        first.cancel()
        _ = await first.value
        let hold = Hold()
        let second = Task {
            await flight.run("a") {
                _ = await hold.pass()
                return 2
            }
        }
        await hold.reached()
        stubborn.release()
        await ended.reached()
        hold.release()
        #expect(await second.value == 2)
    }

    @Test("A slice is the bytes of its buffer's range, and keeps the buffer")
    func slices() {
        let slice: ByteSlice = {
            let buffer = ByteBuffer(count: 10)
            buffer.uninitialized.copyBytes(from: pattern(10))
            return ByteSlice(buffer, 3..<7)
        }()
        #expect(Array(slice.bytes) == [3, 4, 5, 6])
        #expect(ByteBuffer(count: 0).bytes.isEmpty)
    }
}
