import Synchronization

/// The places for requests on the way, and the queue for them: what is waited for first, then what is asked for ahead
/// of need; within each first come, first served.
///
/// Requests ahead never take the last places, so that one which is waited for finds one free. Waiting ends with
/// cancellation, and with the places' being given back: each is held for no longer than a request's deadline.
final class RequestQueue: Sendable {
    /// What its holder gives back.
    struct Place: Sendable {
        fileprivate let round: UInt64
    }

    /// How a request ended, as far as it says whether the server has enough.
    enum Outcome: Sendable {
        /// The server answered.
        case answered
        /// The server refused it for being asked too much.
        case refused
        /// Nothing came that would say so.
        case unknown
    }

    /// What a request asks a place for.
    private struct Wish {
        var isUrgent: Bool
        /// Whether it is over in about a round trip.
        let isSmall: Bool
    }

    private struct Waiter {
        var wish: Wish
        let continuation: CheckedContinuation<Place?, Never>
    }

    private struct State {
        var window: ConcurrencyWindow
        var inFlight = 0
        var inFlightMaximum = 0
        var nextID: UInt64 = 0
        var waiters: [UInt64: Waiter] = [:]
        var urgent = Line()
        var ahead = Line()

        /// Takes a place if there is one.
        mutating func take(_ wish: Wish) -> Place? {
            let limit =
                wish.isUrgent ? self.window.limit : self.window.aheadLimit(isSmall: wish.isSmall)
            guard self.inFlight < limit else { return nil }
            self.inFlight += 1
            self.inFlightMaximum = max(self.inFlightMaximum, self.inFlight)
            return Place(round: self.window.round)
        }

        /// Gives places to those whose turn it is.
        mutating func admit() -> [(CheckedContinuation<Place?, Never>, Place)] {
            var admitted: [(CheckedContinuation<Place?, Never>, Place)] = []
            while let id = self.next(), let waiter = self.waiters[id],
                let place = self.take(waiter.wish)
            {
                self.remove(id)
                admitted.append((waiter.continuation, place))
            }
            return admitted
        }

        private mutating func next() -> UInt64? {
            let waiters = self.waiters
            return self.urgent.first { waiters[$0] != nil }
                ?? self.ahead.first { waiters[$0]?.wish.isUrgent == false }
        }

        mutating func remove(_ id: UInt64) {
            self.waiters[id] = nil
            let waiters = self.waiters
            self.urgent.tidy(count: waiters.count) { waiters[$0] != nil }
            self.ahead.tidy(count: waiters.count) { waiters[$0]?.wish.isUrgent == false }
        }
    }

    private let state: Mutex<State>

    /// Makes an empty queue before so many places.
    init(placeCount: Int) {
        self.state = Mutex(State(window: ConcurrencyWindow(maximum: placeCount)))
    }

    /// Adds what is known here to a client's figures.
    func count(into counters: inout RemoteCounters) {
        self.state.withLock { state in
            counters.inFlight = state.inFlight
            counters.inFlightMaximum = state.inFlightMaximum
            counters.inFlightLimit = state.window.limit
            counters.queued = state.waiters.count
        }
    }

    /// Takes a place, waiting for one; it is due back with ``leave(_:_:)``.
    ///
    /// - Parameters:
    ///   - urgency: Whether somebody waits for the request.
    ///   - isSmall: Whether it is over in about a round trip.
    /// - Returns: The place.
    /// - Throws: `.cancelled`, and nothing else.
    func enter(_ urgency: RequestUrgency, isSmall: Bool = true) async throws(RemoteError) -> Place {
        let (place, id): (Place?, UInt64) = self.state.withLock { state in
            state.nextID += 1
            // Whoever waits does so for want of places, so that nobody is overtaken here.
            let wish = Wish(isUrgent: urgency.isWaitedFor, isSmall: isSmall)
            return (state.take(wish), state.nextID)
        }
        if let place { return place }
        let given = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isIn = self.enqueue(id, urgency, isSmall: isSmall, continuation)
                if isIn { urgency.whenRaised(id) { self.promote(id) } }
            }
        } onCancel: {
            self.cancel(id)
        }
        urgency.forget(id)
        guard let given else { throw .cancelled }
        return given
    }

    /// Takes a place for something urgent if there is one now.
    func tryEnter() -> Place? { self.state.withLock { $0.take(Wish(isUrgent: true, isSmall: true)) } }

    /// Gives a place back, with what is known of how the request ended.
    func leave(_ place: Place, _ outcome: Outcome) {
        self.admit { state in
            state.inFlight -= 1
            switch outcome {
            case .answered: state.window.grow(round: place.round)
            case .refused: state.window.shrink(round: place.round)
            case .unknown: break
            }
        }
    }

    /// Leaves a place to others for a while: its holder waits for other requests, which may need it.
    func lend() { self.admit { $0.inFlight -= 1 } }

    /// Takes a place back at once, also where there is none: soon there is one fewer to have.
    func takeBack() {
        self.state.withLock { state in
            state.inFlight += 1
            state.inFlightMaximum = max(state.inFlightMaximum, state.inFlight)
        }
    }

    private func enqueue(
        _ id: UInt64,
        _ urgency: RequestUrgency,
        isSmall: Bool,
        _ continuation: CheckedContinuation<Place?, Never>
    ) -> Bool {
        let wish = Wish(isUrgent: urgency.isWaitedFor, isSmall: isSmall)
        var isIn = true
        self.admit { state in
            // A cancellation that came before found nothing here, but it shows.
            isIn = !Task.isCancelled
            guard isIn else { return }
            state.waiters[id] = Waiter(wish: wish, continuation: continuation)
            if wish.isUrgent { state.urgent.append(id) } else { state.ahead.append(id) }
        }
        if !isIn { continuation.resume(returning: nil) }
        return isIn
    }

    private func promote(_ id: UInt64) {
        self.admit { state in
            guard state.waiters[id]?.wish.isUrgent == false else { return }
            state.waiters[id]?.wish.isUrgent = true
            state.urgent.append(id)
        }
    }

    private func cancel(_ id: UInt64) {
        let waiter = self.state.withLock { state in
            defer { state.remove(id) }
            return state.waiters[id]
        }
        waiter?.continuation.resume(returning: nil)
    }

    /// Changes the state, then lets in those whose turn it is.
    private func admit(_ change: (inout State) -> Void) {
        let admitted = self.state.withLock { state in
            change(&state)
            return state.admit()
        }
        for (continuation, place) in admitted { continuation.resume(returning: place) }
    }
}

/// Numbers in the order in which they came. Those whose request has left stay until they are first or outnumber the
/// others, so that leaving costs little however long the queue is.
private struct Line {
    private var ids: [UInt64] = []
    private var start = 0

    mutating func append(_ id: UInt64) { self.ids.append(id) }

    /// The first that is still here.
    mutating func first(where isHere: (UInt64) -> Bool) -> UInt64? {
        while self.start < self.ids.count {
            if isHere(self.ids[self.start]) { return self.ids[self.start] }
            self.start += 1
        }
        self.ids.removeAll(keepingCapacity: true)
        self.start = 0
        return nil
    }

    /// Drops what has left if that is most of what is kept.
    mutating func tidy(count: Int, where isHere: (UInt64) -> Bool) {
        guard self.ids.count > 2 * count + 64 else { return }
        self.ids = self.ids[self.start...].filter(isHere)
        self.start = 0
    }
}
