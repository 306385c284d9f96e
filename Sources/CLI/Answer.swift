import Dispatch
import Synchronization

/// A value that one thread leaves for another, which does not wait for it for ever.
final class Answer<Value: Sendable>: Sendable {
    private let isThere = DispatchSemaphore(value: 0)
    private let content = Mutex<Value?>(nil)

    /// Leaves the value.
    func set(_ value: Value) {
        self.content.withLock { $0 = value }
        self.isThere.signal()
    }

    /// Waits for the value, once.
    ///
    /// - Parameter limit: How long; without one as long as it takes.
    /// - Returns: Nothing if it did not come in time.
    func value(within limit: DispatchTimeInterval? = nil) -> Value? {
        self.value(until: limit.map { DispatchTime.now() + $0 } ?? .distantFuture)
    }

    /// Waits for the value, once.
    ///
    /// - Parameter deadline: Until when.
    /// - Returns: Nothing if it did not come in time.
    func value(until deadline: DispatchTime) -> Value? {
        guard self.isThere.wait(timeout: deadline) == .success else { return nil }
        return self.content.withLock { $0 }
    }
}
