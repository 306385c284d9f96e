import RemoteAPI
import Synchronization

/// Time that goes on only when a test says so, or when somebody sleeps: then it jumps, and nobody waits for it.
public final class ManualClock: Sendable {
    private struct State {
        var elapsed: Duration = .zero
        var sleeps: [Duration] = []
    }

    private let state = Mutex(State())
    private let start = ContinuousClock.now
    private let secondsAtStart: Int64

    /// Starts at a wall-clock time, in seconds since 1970.
    public init(secondsSince1970: Int64 = 784_111_777) {
        self.secondsAtStart = secondsSince1970
    }

    /// How long it runs.
    public var elapsed: Duration { self.state.withLock { $0.elapsed } }

    /// How long each sleep was, in order.
    public var sleeps: [Duration] { self.state.withLock { $0.sleeps } }

    /// Lets time go by.
    public func advance(by duration: Duration) {
        self.state.withLock { $0.elapsed += duration }
    }

    /// The moment, for those who keep instants.
    public var now: ContinuousClock.Instant { self.start.advanced(by: self.elapsed) }

    /// This clock as calls use it.
    public var retryClock: RetryClock {
        RetryClock(
            now: { self.elapsed },
            sleep: { duration in
                self.state.withLock { state in
                    state.elapsed += duration
                    state.sleeps.append(duration)
                }
                // Who sleeps again and again, as for a request that stands still, must not keep a core from those it
                // waits for.
                try await Task.sleep(for: .milliseconds(1))
            },
            secondsSince1970: { self.secondsAtStart + self.elapsed.components.seconds }
        )
    }
}
