import Synchronization

/// A value that is set once and waited for by one task; waiting ends with the task's cancellation too.
public final class OneShot<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<Value?, Never>)
        case resolved(Value)
        case finished
    }

    private let state = Mutex(State.empty)

    /// Makes one without a value.
    public init() {}

    /// Sets the value.
    ///
    /// - Returns: Whether it can still be received: `false` if it was set before or the waiting task was cancelled.
    @discardableResult
    public func resolve(_ value: Value) -> Bool {
        let (taken, continuation): (Bool, CheckedContinuation<Value?, Never>?) = self.state.withLock {
            state in
            switch state {
            case .empty:
                state = .resolved(value)
                return (true, nil)
            case .waiting(let continuation):
                state = .finished
                return (true, continuation)
            case .resolved, .finished:
                return (false, nil)
            }
        }
        continuation?.resume(returning: value)
        return taken
    }

    /// Waits for the value; to be called once.
    ///
    /// - Returns: The value, or nothing if the task was cancelled before it was set.
    public func wait() async -> Value? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Value?? = self.state.withLock { state in
                    switch state {
                    case .empty:
                        state = .waiting(continuation)
                        return nil
                    case .resolved(let value):
                        state = .finished
                        return .some(value)
                    case .waiting, .finished:
                        return .some(nil)
                    }
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let continuation: CheckedContinuation<Value?, Never>? = self.state.withLock { state in
                switch state {
                case .empty:
                    state = .finished
                    return nil
                case .waiting(let continuation):
                    state = .finished
                    return continuation
                case .resolved, .finished:
                    return nil
                }
            }
            continuation?.resume(returning: nil)
        }
    }
}
