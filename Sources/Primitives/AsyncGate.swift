import DequeModule
import Synchronization

/// A lock that many may share or one may have alone; first come, first served, not cut short by cancellation.
public final class AsyncGate: Sendable {
    private struct Waiter {
        let isExclusive: Bool
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var sharers = 0
        var isExclusive = false
        var waiters: Deque<Waiter> = []

        mutating func tryEnter(exclusive: Bool) -> Bool {
            guard !self.isExclusive, !exclusive || self.sharers == 0 else { return false }
            if exclusive { self.isExclusive = true } else { self.sharers += 1 }
            return true
        }
    }

    private let state = Mutex(State())

    /// Makes an open gate.
    public init() {}

    /// Enters beside others if that needs no waiting; then ``leaveShared()`` is due.
    public func tryEnterShared() -> Bool {
        self.state.withLock { $0.waiters.isEmpty && $0.tryEnter(exclusive: false) }
    }

    /// Leaves after ``tryEnterShared()``.
    public func leaveShared() {
        self.leave { $0.sharers -= 1 }
    }

    /// Does something beside others that share.
    public func shared<Value: Sendable, Failure: Error>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        await self.enter(exclusive: false)
        defer { self.leave { $0.sharers -= 1 } }
        return try await body()
    }

    /// Does something alone.
    public func alone<Value: Sendable, Failure: Error>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        await self.enter(exclusive: true)
        defer { self.leave { $0.isExclusive = false } }
        return try await body()
    }

    private func enter(exclusive: Bool) async {
        await withCheckedContinuation { continuation in
            let isIn = self.state.withLock { state in
                if state.waiters.isEmpty && state.tryEnter(exclusive: exclusive) { return true }
                state.waiters.append(Waiter(isExclusive: exclusive, continuation: continuation))
                return false
            }
            if isIn { continuation.resume() }
        }
    }

    private func leave(_ change: (inout State) -> Void) {
        let next: [Waiter] = self.state.withLock { state in
            change(&state)
            var next: [Waiter] = []
            while let first = state.waiters.first, state.tryEnter(exclusive: first.isExclusive) {
                next.append(state.waiters.removeFirst())
            }
            return next
        }
        for waiter in next { waiter.continuation.resume() }
    }
}
