import Primitives
import Synchronization

/// The writes of one file that arrived and are not in its bytes yet.
///
/// While a write is on its way the kernel lets the page go that it wrote to, for want of memory or at a program's wish,
/// and asks for it again: what it gets then stays its page. So a read waits for the writes that arrived before it.
final class PendingWrites: Sendable {
    private struct State {
        /// End exclusive; equal ones stand for each other.
        var ranges: [Range<UInt64>] = []
        var waiters: [(range: Range<UInt64>, signal: OneShot<Void>)] = []

        func hold(_ range: Range<UInt64>) -> Bool { self.ranges.contains { $0.overlaps(range) } }
    }

    private let state = Mutex(State())

    func begin(_ range: Range<UInt64>) {
        self.state.withLock { $0.ranges.append(range) }
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

    fileprivate func end(_ range: Range<UInt64>) {
        let free = self.state.withLock { state in
            if let index = state.ranges.firstIndex(of: range) { state.ranges.remove(at: index) }
            let waiters = state.waiters
            state.waiters = waiters.filter { state.hold($0.range) }
            return waiters.filter { !state.hold($0.range) }
        }
        for waiter in free { waiter.signal.resolve(()) }
    }
}

/// A write that was announced: it is over when it is ended, or nobody has this any more.
public final class PendingWrite: Sendable {
    private let writes: PendingWrites
    private let range: Range<UInt64>
    private let isOver = Atomic(false)

    fileprivate init(_ writes: PendingWrites, _ range: Range<UInt64>) {
        self.writes = writes
        self.range = range
    }

    deinit { self.end() }

    /// The bytes are in the file, before anybody is told so.
    public func end() {
        if !self.isOver.exchange(true, ordering: .relaxed) { self.writes.end(self.range) }
    }
}

extension FileHandle {
    /// Tells of a write that arrived: reads of the same bytes that arrive later wait for it.
    ///
    /// - Parameter range: Where it writes, in bytes from the file's start, end exclusive.
    public func announceWrite(_ range: Range<UInt64>) {
        self.content.pendingWrites.begin(range)
    }

    /// A write that was announced, to be had once and kept until it is done or has failed.
    public func announcedWrite(_ range: Range<UInt64>) -> PendingWrite {
        PendingWrite(self.content.pendingWrites, range)
    }
}
