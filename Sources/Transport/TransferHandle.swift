import Synchronization

/// What the sender of a request sees of it while it is on the way, and the means to end it without its task.
public final class TransferHandle: Sendable {
    private struct Stopping {
        var isStopped = false
        var act: (@Sendable () -> Void)?
    }

    private let now: @Sendable () -> Duration
    private let received = Atomic<UInt64>(0)
    private let sent = Atomic<UInt64>(0)
    private let paused = Atomic(false)
    /// By the sender's clock, in nanoseconds; none yet if negative.
    private let firstByte = Atomic<Int64>(-1)
    private let stopping = Mutex(Stopping())
    private let pausing = Mutex<(@Sendable (Bool) -> Void)?>(nil)

    /// Makes one for one request.
    ///
    /// - Parameter now: The sender's clock, which is asked once, on the transport's thread.
    public init(now: @escaping @Sendable () -> Duration) {
        self.now = now
    }

    /// How many bytes of the answer's body have come.
    public var receivedByteCount: UInt64 { self.received.load(ordering: .relaxed) }

    /// When the first of them came, by the sender's clock.
    public var firstByteMoment: Duration? {
        let nanoseconds = self.firstByte.load(ordering: .acquiring)
        return nanoseconds < 0 ? nil : .nanoseconds(nanoseconds)
    }

    /// How many bytes of its own body, where that is read while it is sent, were given to the network.
    public var sentByteCount: UInt64 { self.sent.load(ordering: .relaxed) }

    /// Whether it waits for bytes of its own body.
    public var isPaused: Bool { self.paused.load(ordering: .relaxed) }

    /// Whether it was ended here.
    public var isStopped: Bool { self.stopping.withLock(\.isStopped) }

    /// Ends the request, which then fails with `.cancelled` if it has not ended by itself.
    public func stop() {
        let act = self.stopping.withLock { stopping in
            stopping.isStopped = true
            defer { stopping.act = nil }
            return stopping.act
        }
        act?()
    }

    /// Counts bytes of the body; for transports, one call at a time.
    public func note(received count: Int) {
        if self.received.load(ordering: .relaxed) == 0 {
            let (seconds, attoseconds) = self.now().components
            let moment = max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
            self.firstByte.store(moment, ordering: .releasing)
        }
        self.received.add(UInt64(count), ordering: .relaxed)
    }

    /// Counts bytes of its own body; for transports.
    public func note(sent count: Int) { self.sent.add(UInt64(count), ordering: .relaxed) }

    /// Has its sender told when the request begins, and ends, to wait for bytes of its own body.
    public func whenPaused(_ act: @escaping @Sendable (_ isPaused: Bool) -> Void) {
        self.pausing.withLock { $0 = act }
    }

    /// Tells that it waits, or waits no more, for bytes of its own body; for transports, in turn, before it ends.
    public func note(isPaused: Bool) {
        self.paused.store(isPaused, ordering: .relaxed)
        self.pausing.withLock { $0 }?(isPaused)
    }

    /// Says how to end the request; for transports. Done at once if it was ended before.
    public func whenStopped(_ act: @escaping @Sendable () -> Void) {
        let isStopped = self.stopping.withLock { stopping in
            if !stopping.isStopped { stopping.act = act }
            return stopping.isStopped
        }
        if isStopped { act() }
    }
}
