/// How long a call waits, and how often and when it is repeated.
public struct RetryPolicy: Sendable {
    /// How long one attempt may take without its body, and how long a connection may stand still.
    public var requestTimeout: Duration
    /// How often a call is repeated at most, so that there is one attempt more than this.
    public var retries: Int
    /// The bound of the first wait, doubled with every attempt; each wait is a random part of its bound, so that
    /// clients that failed together do not return together.
    public var backoffBase: Duration
    /// The largest bound.
    public var backoffLimit: Duration
    /// The longest that a server's Retry-After is obeyed.
    public var retryAfterLimit: Duration
    /// The clock, another one in tests.
    public var clock: RetryClock
    /// A random number in 0..<1.
    public var random: @Sendable () -> Double

    /// The defaults, or other values.
    public init(
        requestTimeout: Duration = .seconds(30),
        retries: Int = 4,
        backoffBase: Duration = .milliseconds(100),
        backoffLimit: Duration = .seconds(10),
        retryAfterLimit: Duration = .seconds(60),
        clock: RetryClock = .system,
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) {
        self.requestTimeout = requestTimeout
        self.retries = max(0, retries)
        self.backoffBase = backoffBase
        self.backoffLimit = backoffLimit
        self.retryAfterLimit = retryAfterLimit
        self.clock = clock
        self.random = random
    }

    /// The wait after the attempt of that number, the first being 1.
    func backoff(after attempt: Int) -> Duration {
        let doubled = self.backoffBase * (1 << min(max(0, attempt - 1), 20))
        return min(doubled, self.backoffLimit) * self.random()
    }

    /// One attempt's deadline when so many bytes of a file go over the wire: slower than this, a link is broken.
    func deadline(transferring byteCount: UInt64) -> Duration {
        self.requestTimeout + .seconds(Double(byteCount) / Double(64 << 10))
    }
}

/// Time as calls use it.
public struct RetryClock: Sendable {
    /// How long it is since some fixed moment.
    public var now: @Sendable () -> Duration
    /// Waits; throws when the task is cancelled.
    public var sleep: @Sendable (Duration) async throws -> Void
    /// The wall clock, in seconds since 1970.
    public var secondsSince1970: @Sendable () -> Int64

    /// The clock of tests.
    public init(
        now: @escaping @Sendable () -> Duration,
        sleep: @escaping @Sendable (Duration) async throws -> Void,
        secondsSince1970: @escaping @Sendable () -> Int64
    ) {
        self.now = now
        self.sleep = sleep
        self.secondsSince1970 = secondsSince1970
    }

    /// The machine's, which goes on while it sleeps.
    public static let system: RetryClock = {
        let start = ContinuousClock.now
        return RetryClock(
            now: { start.duration(to: .now) },
            sleep: { try await Task.sleep(for: $0, clock: .continuous) },
            secondsSince1970: WallClock.secondsSince1970
        )
    }()
}
