/// How often calls of a whole client are repeated: as many at once as there are places for requests, then one for every ten
/// requests, and ten in a second in any case.
///
/// It bounds the rate and not the patience: what is beyond it waits longer before it is repeated, and is not given up, so
/// that a caller who waits alone notices nothing, and a thousand who fail together do not ask again together.
struct RetryBudget {
    /// What may be repeated at once; less than 0: what waits its turn.
    private var repeats = Self.burst
    private var asOf: Duration?

    /// As many as there may be on the way.
    private static let burst = 64.0
    private static let perRequest = 0.1
    private static let perSecond = 10.0
    /// What a turn is waited for at most, in seconds.
    private static let longestWait = 30.0

    /// A request is sent.
    mutating func noteRequest() { self.repeats = min(Self.burst, self.repeats + Self.perRequest) }

    /// Takes a turn.
    ///
    /// - Returns: How long it is until then.
    mutating func takeTurn(at now: Duration) -> Duration {
        let elapsed = self.asOf.map { max(0, (now - $0) / .seconds(1)) } ?? 0
        self.asOf = now
        self.repeats = min(Self.burst, self.repeats + elapsed * Self.perSecond) - 1
        self.repeats = max(self.repeats, -Self.longestWait * Self.perSecond)
        return self.repeats < 0 ? .seconds(-self.repeats / Self.perSecond) : .zero
    }
}
