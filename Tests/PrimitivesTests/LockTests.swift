import Synchronization
import TestKit
import Testing

@testable import Primitives

/// Writes down what happens, in order.
private final class Journal: Sendable {
    private let entries = Mutex<[String]>([])
    var all: [String] { self.entries.withLock { $0 } }
    func note(_ entry: String) { self.entries.withLock { $0.append(entry) } }
}

/// Sees who is in it at once.
private final class Room: Sendable {
    private struct State {
        var count = 0
        var isAlone = false
        var most = 0
        var violations = 0
    }

    private let state = Mutex(State())
    var most: Int { self.state.withLock { $0.most } }
    var violationCount: Int { self.state.withLock { $0.violations } }

    func enter(alone: Bool) {
        self.state.withLock { state in
            if state.isAlone || alone && state.count > 0 { state.violations += 1 }
            state.isAlone = alone
            state.count += 1
            state.most = max(state.most, state.count)
        }
    }

    func leave() {
        self.state.withLock { state in
            state.count -= 1
            state.isAlone = false
        }
    }
}

@Suite("Locks that tasks wait for", .timeLimit(.minutes(5)))
struct LockTests {
    @Test("Those who share a gate are in it at once")
    func shared() async {
        let gate = AsyncGate()
        let hold = Hold()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<3 { group.addTask { await gate.shared { _ = await hold.pass() } } }
            await hold.reached(3)
            hold.release()
        }
    }

    @Test("Who waits at a gate comes in the order of asking")
    func order() async {
        let gate = AsyncGate()
        let journal = Journal()
        let hold = Hold()
        let first = Task.immediate { await gate.alone { _ = await hold.pass() } }
        // Each has asked when it is made: an immediate task runs until it first waits.
        let others = (0..<10).map { index in
            Task.immediate { await gate.alone { journal.note("\(index)") } }
        }
        #expect(!gate.tryEnterShared())
        #expect(journal.all.isEmpty)
        hold.release()
        await first.value
        for other in others { await other.value }
        #expect(journal.all == (0..<10).map(String.init))
    }

    @Test("No sharer overtakes one who waits to be alone")
    func noOvertaking() async {
        let gate = AsyncGate()
        #expect(gate.tryEnterShared())
        let entered = Tally()
        let alone = Task.immediate { await gate.alone { entered.add() } }
        #expect(!gate.tryEnterShared())
        #expect(entered.count == 0)
        gate.leaveShared()
        await alone.value
        #expect(entered.count == 1)
        #expect(gate.tryEnterShared())
    }

    @Test("A gate that two tasks share is free for one alone only when both have left")
    func lastSharer() async {
        let gate = AsyncGate()
        #expect(gate.tryEnterShared())
        #expect(gate.tryEnterShared())
        let journal = Journal()
        let alone = Task.immediate { await gate.alone { journal.note("alone") } }
        journal.note("one left")
        gate.leaveShared()
        journal.note("both left")
        gate.leaveShared()
        await alone.value
        #expect(journal.all == ["one left", "both left", "alone"])
    }

    @Test("A gate is left when what was done in it throws")
    func throwing() async {
        struct Failure: Error {}
        let gate = AsyncGate()
        await #expect(throws: Failure.self) { try await gate.alone { throw Failure() } }
        await #expect(throws: Failure.self) { try await gate.shared { throw Failure() } }
        await gate.alone {}
    }

    @Test("A gate keeps many tasks apart: nobody is beside one who is alone")
    func storm() async {
        let gate = AsyncGate()
        let room = Room()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<300 {
                group.addTask {
                    if index % 4 == 0 {
                        await gate.alone {
                            room.enter(alone: true)
                            await Task.yield()
                            room.leave()
                        }
                    } else {
                        await gate.shared {
                            room.enter(alone: false)
                            await Task.yield()
                            room.leave()
                        }
                    }
                }
            }
        }
        #expect(room.violationCount == 0)
    }

    @Test("A semaphore lets no more in than it has places")
    func bound() async {
        let semaphore = AsyncSemaphore(3)
        let hold = Hold()
        let room = Room()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do { try await semaphore.acquire() } catch { return }
                    room.enter(alone: false)
                    _ = await hold.pass()
                    room.leave()
                    semaphore.release()
                }
            }
            await hold.reached(3)
            hold.release()
        }
        #expect(room.most == 3)
    }

    @Test("A place given back goes past a waiter that was cancelled")
    func cancelledWaiter() async throws {
        let semaphore = AsyncSemaphore(1)
        try await semaphore.acquire()
        let cancelled = Task { try await semaphore.acquire() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        semaphore.release()
        try await semaphore.acquire()
    }

    @Test("Two tasks that want two keys in opposite order do not wait for each other")
    func noDeadlock() async {
        let locks = KeyedLocks<Int>()
        let done = Tally()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                let keys = index % 2 == 0 ? [1, 2] : [2, 1, 2]
                group.addTask {
                    await locks.withLocks(keys) { await Task.yield() }
                    done.add()
                }
            }
        }
        #expect(done.count == 200)
    }

    @Test("A key is held by one task at a time, other keys meanwhile by others")
    func keys() async {
        let locks = KeyedLocks<Int>()
        let hold = Hold()
        let journal = Journal()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await locks.withLocks([1]) {
                    _ = await hold.pass()
                    journal.note("first of 1")
                }
            }
            await hold.reached()
            group.addTask { await locks.withLocks([1]) { journal.note("second of 1") } }
            await locks.withLocks([2]) { journal.note("2") }
            hold.release()
        }
        #expect(journal.all == ["2", "first of 1", "second of 1"])
    }
}
