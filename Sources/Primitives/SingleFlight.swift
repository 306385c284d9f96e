import Synchronization

/// Joins equal requests: while one is under way, whoever asks for the same waits for its answer.
///
/// The work is cancelled when nobody waits for it any more.
public final class SingleFlight<Key: Hashable & Sendable, Answer: Sendable>: Sendable {
    private struct Flight {
        let id: UInt64
        var task: Task<Void, Never>?
        var waiters: [UInt64: OneShot<Answer>] = [:]
        /// Tells work that was begun ahead of need that somebody waits; nothing if it was told, or begun by who waits.
        var raise: (@Sendable () -> Void)?
    }

    /// A place among those who wait for one piece of work.
    public struct Waiting: Sendable {
        let key: Key
        let flightID: UInt64
        let waiterID: UInt64
        let answer: OneShot<Answer>
    }

    private struct State {
        var nextID: UInt64 = 0
        var flights: [Key: Flight] = [:]

        mutating func makeID() -> UInt64 {
            self.nextID += 1
            return self.nextID
        }

        /// Takes what tells work that somebody waits.
        mutating func takeRaise(_ key: Key, _ flightID: UInt64) -> (@Sendable () -> Void)? {
            guard self.flights[key]?.id == flightID else { return nil }
            defer { self.flights[key]?.raise = nil }
            return self.flights[key]?.raise
        }

        /// Joins the work for a key, if there is any, with what is to be called then without the lock.
        mutating func join(_ key: Key, waits: Bool) -> (waiting: Waiting, raise: (@Sendable () -> Void)?)? {
            guard let flight = self.flights[key] else { return nil }
            let waiting = Waiting(key: key, flightID: flight.id, waiterID: self.makeID(), answer: OneShot())
            self.flights[key]?.waiters[waiting.waiterID] = waiting.answer
            return (waiting, waits ? self.takeRaise(key, flight.id) : nil)
        }
    }

    private let state = Mutex(State())

    /// Makes one with nothing under way.
    public init() {}

    /// How many pieces of work are under way.
    public var count: Int { self.state.withLock { $0.flights.count } }

    /// Whether work is under way for a key.
    public func isUnderWay(_ key: Key) -> Bool { self.state.withLock { $0.flights[key] != nil } }

    /// Does the work for a key, or waits for the one who already does it.
    ///
    /// - Parameters:
    ///   - key: Which work.
    ///   - raise: Given by who asks ahead of need: called once, without a lock, if somebody joins who does not.
    ///   - join: Given by who asks ahead of need: called without a lock if the work was under way, with what is to be
    ///     called if somebody begins to wait for it there.
    ///   - work: The work.
    /// - Returns: The answer, or nothing if this task was cancelled.
    public func run(
        _ key: Key,
        ahead raise: (@Sendable () -> Void)? = nil,
        joined join: ((@escaping @Sendable () -> Void) -> Void)? = nil,
        _ work: @escaping @Sendable () async -> Answer
    ) async -> Answer? {
        await self.wait(self.begin(key, ahead: raise, joined: join, work))
    }

    /// Begins the work for a key, or joins it; ``wait(_:)`` is due. See ``run(_:ahead:joined:_:)``.
    public func begin(
        _ key: Key,
        ahead raise: (@Sendable () -> Void)? = nil,
        joined join: ((@escaping @Sendable () -> Void) -> Void)? = nil,
        _ work: @escaping @Sendable () async -> Answer
    ) -> Waiting {
        typealias Begun = (waiting: Waiting, raise: (@Sendable () -> Void)?, isNew: Bool)
        let begun: Begun = self.state.withLock { state in
            if let joined = state.join(key, waits: raise == nil) {
                return (joined.waiting, joined.raise, false)
            }
            let id = state.makeID()
            let waiting = Waiting(key: key, flightID: id, waiterID: state.makeID(), answer: OneShot())
            let task = Task { self.land(key, id, await work()) }
            let waiters = [waiting.waiterID: waiting.answer]
            state.flights[key] = Flight(id: id, task: task, waiters: waiters, raise: raise)
            return (waiting, nil, true)
        }
        begun.raise?()
        if raise != nil, !begun.isNew {
            // Ahead too: whoever waits for this one waits for that.
            join? { self.state.withLock { $0.takeRaise(key, begun.waiting.flightID) }?() }
        }
        return begun.waiting
    }

    /// Joins the work that is under way for a key, if there is any, as one who waits for it; ``wait(_:)`` is due.
    public func join(_ key: Key) -> Waiting? {
        guard let (waiting, raise) = self.state.withLock({ $0.join(key, waits: true) }) else { return nil }
        raise?()
        return waiting
    }

    /// Waits for work that was begun or joined.
    ///
    /// - Returns: The answer, or nothing if this task was cancelled.
    public func wait(_ waiting: Waiting) async -> Answer? {
        if let value = await waiting.answer.wait() { return value }
        let abandoned: Task<Void, Never>? = self.state.withLock { state in
            guard state.flights[waiting.key]?.id == waiting.flightID else { return nil }
            state.flights[waiting.key]?.waiters[waiting.waiterID] = nil
            guard let flight = state.flights[waiting.key], flight.waiters.isEmpty else { return nil }
            // Whoever asks from now on begins anew instead of joining work that is being cancelled.
            state.flights[waiting.key] = nil
            return flight.task
        }
        abandoned?.cancel()
        return nil
    }

    private func land(_ key: Key, _ id: UInt64, _ answer: Answer) {
        let waiters: [OneShot<Answer>] = self.state.withLock { state in
            guard let flight = state.flights[key], flight.id == id else { return [] }
            state.flights[key] = nil
            return Array(flight.waiters.values)
        }
        for waiter in waiters { waiter.resolve(answer) }
    }
}
