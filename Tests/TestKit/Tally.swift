import Primitives
import Synchronization

/// Counts events, and lets a test wait until there were enough of them without holding a thread.
public final class Tally: Sendable {
    private struct State {
        var count = 0
        var waiters: [(needed: Int, reached: OneShot<Void>)] = []
    }

    private let state = Mutex(State())

    /// Starts at 0.
    public init() {}

    /// How many there were.
    public var count: Int { self.state.withLock { $0.count } }

    /// Counts one more.
    public func add() {
        let reached: [OneShot<Void>] = self.state.withLock { state in
            state.count += 1
            let count = state.count
            let reached = state.waiters.filter { $0.needed <= count }.map(\.reached)
            state.waiters.removeAll { $0.needed <= count }
            return reached
        }
        for waiter in reached { waiter.resolve(()) }
    }

    /// Waits until there were so many, or the task is cancelled.
    public func reached(_ needed: Int = 1) async {
        let waiter = OneShot<Void>()
        let isReached = self.state.withLock { state in
            if state.count >= needed { return true }
            state.waiters.append((needed, waiter))
            return false
        }
        if !isReached { _ = await waiter.wait() }
    }
}

/// Holds calls until it is released.
public final class Hold: Sendable {
    private struct State {
        var isReleased = false
        var held: [OneShot<Void>] = []
    }

    private let state = Mutex(State())
    private let tally = Tally()

    /// Holds everything that comes by.
    public init() {}

    /// Waits until so many were held, those cancelled meanwhile included.
    public func reached(_ count: Int = 1) async { await self.tally.reached(count) }

    /// How many were held so far.
    public var count: Int { self.tally.count }

    /// Lets go what is held, and all that come later.
    public func release() {
        let held = self.state.withLock { state in
            state.isReleased = true
            defer { state.held = [] }
            return state.held
        }
        for call in held { call.resolve(()) }
    }

    /// Waits for the release.
    ///
    /// - Returns: Whether it was released; `false` if the task was cancelled.
    public func pass() async -> Bool {
        let call = OneShot<Void>()
        let isReleased = self.state.withLock { state in
            if !state.isReleased { state.held.append(call) }
            return state.isReleased
        }
        if isReleased { return true }
        self.tally.add()
        return await call.wait() != nil
    }
}
