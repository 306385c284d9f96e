import DequeModule
import Synchronization

/// Bounds how many tasks do something at once; waiting is first come, first served, and ends with cancellation.
public final class AsyncSemaphore: Sendable {
    private struct State {
        var available: Int
        var waiters: Deque<OneShot<Void>> = []
    }

    private let state: Mutex<State>

    /// Lets `count` holders in at once.
    public init(_ count: Int) {
        self.state = Mutex(State(available: count))
    }

    /// Takes a place, waiting for one.
    ///
    /// - Throws: `CancellationError` if the task was cancelled before it had one.
    public func acquire() async throws(CancellationError) {
        let waiter: OneShot<Void>? = self.state.withLock { state in
            if state.available > 0 {
                state.available -= 1
                return nil
            }
            let waiter = OneShot<Void>()
            state.waiters.append(waiter)
            return waiter
        }
        guard let waiter else { return }
        if await waiter.wait() == nil { throw CancellationError() }
    }

    /// Gives a place back.
    public func release() {
        self.state.withLock { state in
            // A waiter that was cancelled refuses the place, which then goes to the next.
            while let waiter = state.waiters.popFirst() {
                if waiter.resolve(()) { return }
            }
            state.available += 1
        }
    }
}
