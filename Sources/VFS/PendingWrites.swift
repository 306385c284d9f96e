import Primitives
import Synchronization

/// The writes of one file that arrived and are not in its bytes yet.
///
/// While a write is on its way the kernel lets the page go that it wrote to, for want of memory or at a program's wish,
/// and asks for it again: what it gets then stays its page. So a read waits for the writes that arrived before it.
final class PendingWrites: Sendable {
    private struct State {
        var nextID: UInt64 = 0
        /// By id, end exclusive.
        var ranges: [UInt64: Range<UInt64>] = [:]
        var waiters: [(range: Range<UInt64>, signal: OneShot<Void>)] = []

        func hold(_ range: Range<UInt64>) -> Bool {
            self.ranges.values.contains { $0.overlaps(range) }
        }
    }

    private let state = Mutex(State())

    /// Counts a write until ``PendingWrite`` ends.
    func begin(_ range: Range<UInt64>) -> PendingWrite {
        let id = self.state.withLock { state in
            state.nextID += 1
            state.ranges[state.nextID] = range
            return state.nextID
        }
        return PendingWrite(self, id: id)
    }

    /// Whether a read of a range has to wait.
    func hold(_ range: Range<UInt64>) -> Bool {
        self.state.withLock { $0.hold(range) }
    }

    /// Waits until no write to a range is on its way, or the task is cancelled.
    func wait(for range: Range<UInt64>) async {
        let signal = OneShot<Void>()
        let waits = self.state.withLock { state in
            guard state.hold(range) else { return false }
            state.waiters.append((range, signal))
            return true
        }
        if waits { _ = await signal.wait() }
    }

    fileprivate func end(_ id: UInt64) {
        let free = self.state.withLock { state in
            state.ranges[id] = nil
            let waiters = state.waiters
            state.waiters = waiters.filter { state.hold($0.range) }
            return waiters.filter { !state.hold($0.range) }
        }
        for waiter in free { waiter.signal.resolve(()) }
    }
}

/// One write on its way: it is over when nobody has this any more.
public final class PendingWrite: Sendable {
    private let writes: PendingWrites
    private let id: UInt64

    fileprivate init(_ writes: PendingWrites, id: UInt64) {
        self.writes = writes
        self.id = id
    }

    deinit { self.writes.end(self.id) }
}
