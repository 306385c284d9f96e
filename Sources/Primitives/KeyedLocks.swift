import DequeModule
import Synchronization

/// One exclusive lock per key, made when first asked for and gone when nobody holds it.
///
/// Waiting is first come, first served; it is not cut short by cancellation, so that what follows a lock
/// (rename's second half) is never skipped.
public final class KeyedLocks<Key: Hashable & Comparable & Sendable>: Sendable {
    /// Held keys, and who waits for each.
    private let held = Mutex<[Key: Deque<CheckedContinuation<Void, Never>>]>([:])

    /// Makes an empty set of locks.
    public init() {}

    /// Does something while holding the locks of some keys, which are taken in their order so that two callers
    /// cannot wait for each other.
    public func withLocks<Value: Sendable, Failure: Error>(
        _ keys: [Key],
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let ordered = Set(keys).sorted()
        for key in ordered { await self.acquire(key) }
        defer { for key in ordered.reversed() { self.release(key) } }
        return try await body()
    }

    private func acquire(_ key: Key) async {
        await withCheckedContinuation { continuation in
            let isFree = self.held.withLock { held in
                if held[key] == nil {
                    held[key] = []
                    return true
                }
                held[key]?.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    private func release(_ key: Key) {
        let next: CheckedContinuation<Void, Never>? = self.held.withLock { held in
            if let next = held[key]?.popFirst() { return next }
            held[key] = nil
            return nil
        }
        next?.resume()
    }
}
