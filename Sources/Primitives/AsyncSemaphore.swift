import Synchronization

/// Bounds how many tasks do something at once; waiting is first come, first served, and ends with cancellation.
public final class AsyncSemaphore: Sendable {
    private struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var available: Int
        var nextID: UInt64 = 0
        var waiters: [Waiter] = []
        /// Ids cancelled before their continuation was stored.
        var cancelled: Set<UInt64> = []
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
        let id: UInt64? = self.state.withLock { state in
            if state.available > 0 {
                state.available -= 1
                return nil
            }
            state.nextID += 1
            return state.nextID
        }
        guard let id else { return }
        let acquired = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = self.state.withLock { state in
                    if state.cancelled.remove(id) != nil { return false }
                    if state.available > 0 {
                        state.available -= 1
                        return true
                    }
                    state.waiters.append(Waiter(id: id, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter: Waiter? = self.state.withLock { state in
                guard let index = state.waiters.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return state.waiters.remove(at: index)
            }
            waiter?.continuation.resume(returning: false)
        }
        if acquired { self.state.withLock { _ = $0.cancelled.remove(id) } }
        if !acquired { throw CancellationError() }
    }

    /// Gives a place back.
    public func release() {
        let next: Waiter? = self.state.withLock { state in
            if state.waiters.isEmpty {
                state.available += 1
                return nil
            }
            return state.waiters.removeFirst()
        }
        next?.continuation.resume(returning: true)
    }

    /// Does something while holding a place.
    public func withPlace<Value: Sendable>(
        _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        try await self.acquire()
        defer { self.release() }
        return try await body()
    }
}
