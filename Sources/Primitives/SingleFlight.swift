import Synchronization

/// Joins equal requests: while one is under way, whoever asks for the same waits for its answer.
///
/// The work is cancelled when nobody waits for it any more.
public final class SingleFlight<Key: Hashable & Sendable, Answer: Sendable>: Sendable {
    private struct Flight {
        let id: UInt64
        var task: Task<Void, Never>?
        var waiters: [UInt64: OneShot<Answer>] = [:]
    }

    private struct State {
        var nextID: UInt64 = 0
        var flights: [Key: Flight] = [:]

        mutating func makeID() -> UInt64 {
            self.nextID += 1
            return self.nextID
        }
    }

    private let state = Mutex(State())

    /// Makes one with nothing under way.
    public init() {}

    /// How many pieces of work are under way.
    public var count: Int { self.state.withLock { $0.flights.count } }

    /// Does the work for a key, or waits for the one who already does it.
    ///
    /// - Returns: The answer, or nothing if this task was cancelled.
    public func run(_ key: Key, _ work: @escaping @Sendable () async -> Answer) async -> Answer? {
        let answer = OneShot<Answer>()
        let (flightID, waiterID) = self.state.withLock { state in
            let waiterID = state.makeID()
            if state.flights[key] == nil {
                let id = state.makeID()
                state.flights[key] = Flight(id: id)
                let task = Task { self.land(key, id, await work()) }
                state.flights[key]?.task = task
            }
            state.flights[key]?.waiters[waiterID] = answer
            return (state.flights[key]?.id, waiterID)
        }
        if let value = await answer.wait() { return value }
        let abandoned: Task<Void, Never>? = self.state.withLock { state in
            guard state.flights[key]?.id == flightID else { return nil }
            state.flights[key]?.waiters[waiterID] = nil
            guard let flight = state.flights[key], flight.waiters.isEmpty else { return nil }
            // Whoever asks from now on begins anew instead of joining work that is being cancelled.
            state.flights[key] = nil
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
