import Synchronization

/// Whether somebody waits for what a request brings, or it is asked for ahead of need.
///
/// It is handed down with a call and may be raised while the call is under way: a request that is still queued then
/// goes on with those that are waited for.
public final class RequestUrgency: Sendable {
    private struct State {
        var isWaitedFor: Bool
        /// Who is to be told, by the number of the request.
        var observers: [UInt64: @Sendable () -> Void] = [:]
        /// Those of other calls that this one joined.
        var joined: [@Sendable () -> Void] = []
    }

    private let state: Mutex<State>

    private init(isWaitedFor: Bool) {
        self.state = Mutex(State(isWaitedFor: isWaitedFor))
    }

    /// Somebody waits.
    public static let waitedFor = RequestUrgency(isWaitedFor: true)

    /// Nobody waits yet.
    public static func ahead() -> RequestUrgency { RequestUrgency(isWaitedFor: false) }

    /// Whether somebody waits.
    public var isWaitedFor: Bool { self.state.withLock(\.isWaitedFor) }

    /// What is to be called when somebody begins to wait; nothing if somebody does already.
    public var raiser: (@Sendable () -> Void)? { self.isWaitedFor ? nil : { @Sendable in self.raise() } }

    /// Somebody waits from now on. From any thread, at the price of a lock; not undone.
    public func raise() {
        let observers = self.state.withLock { state in
            state.isWaitedFor = true
            defer {
                state.observers = [:]
                state.joined = []
            }
            return Array(state.observers.values) + state.joined
        }
        for observer in observers { observer() }
    }

    /// Has another call told when somebody begins to wait, which this one shares its work with: at once if somebody does
    /// already.
    public func alsoRaise(_ act: @escaping @Sendable () -> Void) {
        let isRaised = self.state.withLock { state in
            if !state.isWaitedFor { state.joined.append(act) }
            return state.isWaitedFor
        }
        if isRaised { act() }
    }

    /// Has a queue told when somebody begins to wait: at once if somebody does already.
    func whenRaised(_ request: UInt64, _ act: @escaping @Sendable () -> Void) {
        let isRaised = self.state.withLock { state in
            if !state.isWaitedFor { state.observers[request] = act }
            return state.isWaitedFor
        }
        if isRaised { act() }
    }

    /// The request has left its queue.
    func forget(_ request: UInt64) {
        self.state.withLock { _ = $0.observers.removeValue(forKey: request) }
    }
}
