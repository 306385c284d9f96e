/// How the service has answered lately.
public struct ServiceHealth: Sendable, Hashable {
    /// A request that ended in trouble, repeated or not.
    public struct Failure: Sendable, Hashable {
        /// What it asked for, as logs name it.
        public var call: String
        /// Why, in one line.
        public var reason: String
        /// When, in seconds since 1970.
        public var time: Int64
    }

    /// How long answers take.
    public private(set) var latency = RequestLatency()
    /// How many requests ended in trouble; that something is not there, or is there already, is none.
    public private(set) var failureCount: UInt64 = 0
    /// When the service answered last, in seconds since 1970.
    public private(set) var lastAnswer: Int64?
    /// The last trouble.
    public private(set) var lastFailure: Failure?
    /// Since when no request was answered, in seconds since 1970; nothing as long as fewer than three in a row were not.
    public var silentSince: Int64? {
        self.unansweredCount >= Self.silenceCount ? self.unansweredSince : nil
    }
    /// Whether the last answer was that the key is not accepted.
    public private(set) var isKeyRefused = false
    private var unansweredSince: Int64?
    private var unansweredCount = 0

    /// Nothing is known yet.
    public init() {}

    /// What an operator is told.
    enum Change: Equatable {
        /// One request after another is not answered.
        case fallenSilent
        /// After that, one was.
        case answersAgain(afterSeconds: Int64)
    }

    /// One lost answer happens on any network.
    private static let silenceCount = 3

    /// Takes the end of a request into account.
    ///
    /// - Parameters:
    ///   - failure: What it ended with, if not with success.
    ///   - call: What it asked for.
    ///   - latency: How long the answer took to begin, if that says something of the service.
    ///   - time: Now, in seconds since 1970.
    /// - Returns: What has changed by it.
    mutating func note(_ failure: CallFailure?, of call: String, latency: Duration?, at time: Int64)
        -> Change?
    {
        if let failure, failure.isTrouble {
            self.failureCount += 1
            self.lastFailure = Failure(call: call, reason: failure.error.description, time: time)
        }
        guard failure?.isUnanswered != true else {
            self.unansweredSince = self.unansweredSince ?? time
            self.unansweredCount += 1
            return self.unansweredCount == Self.silenceCount ? .fallenSilent : nil
        }
        if let latency { self.latency.add(latency) }
        self.lastAnswer = time
        self.isKeyRefused = failure?.error == .unauthorized
        defer {
            self.unansweredSince = nil
            self.unansweredCount = 0
        }
        guard let silentSince = self.silentSince else { return nil }
        return .answersAgain(afterSeconds: time - silentSince)
    }
}

extension CallFailure {
    /// Whether something went wrong; what is not there, or there already, is an answer like any other.
    fileprivate var isTrouble: Bool {
        switch self.error {
        case .notFound, .alreadyExists, .changedKind, .rejected, .cancelled: false
        case .unauthorized, .forbidden, .outOfSpace, .unavailable, .failed, .timedOut, .malformedAnswer,
            .unreadableBody:
            true
        }
    }

    /// Whether nothing came from the service itself.
    fileprivate var isUnanswered: Bool {
        guard self.isTrouble, self.error != .unreadableBody else { return false }
        guard let status = self.status else { return true }
        return [502, 503, 504].contains(status)
    }
}
