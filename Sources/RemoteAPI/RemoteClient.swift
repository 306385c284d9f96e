import Logging
import Synchronization
import Transport
import WireFormat

/// The service at one endpoint, with one key: calls with deadlines, repeated where that is safe.
///
/// All filesystems of one client share what the server says about being asked too often: a Retry-After holds for
/// everyone.
public final class RemoteClient: Sendable {
    /// Where the service is.
    public let endpoint: Endpoint
    let credentials: Credentials
    let transport: any HTTPTransport
    let retry: RetryPolicy
    let logger: Logger
    private let state = Mutex(State())
    let queue: RequestQueue
    let watch: StallWatch

    private struct State {
        /// Nothing is sent before that, by the policy's clock.
        var notBefore: Duration = .zero
        var counters = RemoteCounters()
        var health = ServiceHealth()
        var budget = RetryBudget()
        /// Whether the server was seen to take an upload of no bytes, or to answer 500 to it; nothing before.
        var takesEmptyFiles: Bool?
    }

    /// Makes a client; nothing is sent yet.
    ///
    /// - Parameters:
    ///   - endpoint: Where the service is.
    ///   - credentials: The key.
    ///   - transport: What carries the requests.
    ///   - retry: How long calls wait, and how often they are repeated.
    ///   - maximumInFlight: How many requests are on the way at once at most: as many as the transport has connections.
    ///   - logger: Told of repeated calls.
    public init(
        endpoint: Endpoint,
        credentials: Credentials,
        transport: any HTTPTransport,
        retry: RetryPolicy = RetryPolicy(),
        maximumInFlight: Int = 64,
        logger: Logger
    ) {
        self.queue = RequestQueue(placeCount: maximumInFlight)
        self.watch = StallWatch(clock: retry.clock)
        self.endpoint = endpoint
        self.credentials = credentials
        self.transport = transport
        self.retry = retry
        self.logger = logger
    }

    /// The calls of one filesystem.
    public func filesystem(_ id: FilesystemID) -> RemoteClientFilesystem {
        RemoteClientFilesystem(client: self, id: id)
    }

    /// Whether the server takes empty files, as far as that was seen.
    var takesEmptyFiles: Bool? { self.state.withLock(\.takesEmptyFiles) }

    /// The server took, or refused, the start of an empty file's upload.
    func noteEmptyFile(isTaken: Bool) { self.state.withLock { $0.takesEmptyFiles = isTaken } }

    /// What was done so far.
    public var counters: RemoteCounters {
        var counters = self.state.withLock(\.counters)
        self.queue.count(into: &counters)
        return counters
    }

    /// How the service has answered lately.
    public var health: ServiceHealth { self.state.withLock(\.health) }

    /// Sends one request, and if its key is refused and has changed, once more.
    func sendWithKey(
        _ call: RemoteCall,
        _ sink: (any BodySink)?,
        _ handle: TransferHandle
    ) async throws(RemoteError) -> Result<HTTPResponse, CallFailure> {
        let key = self.credentials.key()
        let result = try await self.send(call, key, sink, handle)
        guard case .failure(let failure) = result, failure.status == 401,
            let fresh = await self.credentials.key(insteadOf: key)
        else { return result }
        self.logger.debug("the key was refused and has changed", metadata: call.metadata)
        return try await self.send(call, fresh, sink, handle)
    }

    /// Makes a call that does no harm when made twice, until it succeeds or there is no more hope.
    ///
    /// - Parameters:
    ///   - call: The call.
    ///   - retries: How often to repeat it at most, where that is less than the policy says.
    ///   - urgency: Whether somebody waits for it.
    ///   - read: Takes the answer, a success, for what the API promises; what it throws is the attempt's failure.
    /// - Returns: What was read.
    /// - Throws: What the last attempt ended with.
    func repeating<Value>(
        _ call: RemoteCall,
        retries: Int = .max,
        urgency: RequestUrgency = .waitedFor,
        reading read: (HTTPResponse) throws(RemoteError) -> Value
    ) async throws(RemoteError) -> Value {
        var attempt = 0
        while true {
            attempt += 1
            let failure: CallFailure
            switch try await self.attempt(call, urgency: urgency) {
            case .success(let response):
                do throws(RemoteError) { return try read(response) } catch { failure = .malformed(error) }
            case .failure(let met): failure = met
            }
            guard failure.isTransient, attempt <= min(retries, self.retry.retries) else {
                throw self.givingUp(call, failure, attempt)
            }
            try await self.pause(call, failure, attempt)
        }
    }

    /// Waits before a call is repeated.
    func pause(_ call: RemoteCall, _ failure: CallFailure, _ attempt: Int) async throws(RemoteError) {
        let now = self.retry.clock.now()
        let wait = self.state.withLock { state in
            state.counters.retries += 1
            return state.budget.takeTurn(at: now)
        }
        self.logger.debug(
            "a call is repeated",
            metadata: call.metadata(attempt: attempt, cause: failure.error)
        )
        try await self.sleep(wait + self.retry.backoff(after: attempt))
    }

    /// A call is asked a second time beside the first, which is slow.
    func noteRepeated(_ call: RemoteCall) {
        self.state.withLock { $0.counters.hedges += 1 }
        self.logger.debug("a call is slower than others by far and is asked again", metadata: call.metadata)
    }

    /// Notes the end of a call's hopes, where it had any.
    func givingUp(_ call: RemoteCall, _ failure: CallFailure, _ attempt: Int) -> RemoteError {
        if failure.isTransient {
            self.state.withLock { $0.counters.givenUp += 1 }
            self.logger.debug(
                "a call is given up",
                metadata: call.metadata(attempt: attempt, cause: failure.error)
            )
        }
        return failure.error
    }

    /// Takes a place among the requests on the way, once the server takes requests if it said that it does not.
    func enter(_ urgency: RequestUrgency, isSmall: Bool) async throws(RemoteError) -> RequestQueue.Place {
        if Task.isCancelled { throw .cancelled }
        var waited = Duration.zero
        while true {
            try await self.waitForTurn(&waited)
            let place = try await self.queue.enter(urgency, isSmall: isSmall)
            // Meanwhile another answer may have said so.
            if self.timeToTurn(waited) == nil { return place }
            self.queue.leave(place, .unknown)
        }
    }

    /// How long the server is not to be asked yet; nothing if it may be now.
    func timeToTurn(_ waited: Duration) -> Duration? {
        let wait = self.state.withLock { $0.notBefore } - self.retry.clock.now()
        // Answers to others may move the moment on; nobody waits for ever.
        return wait > .zero && waited < self.retry.retryAfterLimit ? wait : nil
    }

    private func waitForTurn(_ waited: inout Duration) async throws(RemoteError) {
        while let wait = self.timeToTurn(waited) {
            let start = self.retry.clock.now()
            // A little apart from one another, or all that wait would come at once.
            try await self.sleep(wait + self.retry.backoff(after: 1))
            waited += self.retry.clock.now() - start
        }
    }

    private func sleep(_ duration: Duration) async throws(RemoteError) {
        do {
            try await self.retry.clock.sleep(duration)
        } catch {
            throw .cancelled
        }
        if Task.isCancelled { throw .cancelled }
    }

    private func send(
        _ call: RemoteCall,
        _ key: String,
        _ sink: (any BodySink)?,
        _ handle: TransferHandle
    ) async throws(RemoteError) -> Result<HTTPResponse, CallFailure> {
        let start = self.retry.clock.now()
        let result = try await self.exchange(call, key, sink, handle)
        let answered = handle.firstByteMoment ?? self.retry.clock.now()
        let failure: CallFailure? = if case .failure(let failure) = result { failure } else { nil }
        let time = self.retry.clock.secondsSince1970()
        // How long a part takes to be sent says nothing of how fast the service answers.
        let latency = call.method == .put ? nil : answered - start
        let change = self.state.withLock {
            $0.health.note(failure, of: call.name, latency: latency, at: time)
        }
        switch change {
        case .fallenSilent:
            let cause = failure?.error.description ?? ""
            self.logger.warning("the service does not answer", metadata: ["cause": "\(cause)"])
        case .answersAgain(let seconds):
            self.logger.notice("the service answers again", metadata: ["after_s": "\(seconds)"])
        case nil: break
        }
        return result
    }

    private func exchange(
        _ call: RemoteCall,
        _ key: String,
        _ sink: (any BodySink)?,
        _ handle: TransferHandle
    ) async throws(RemoteError) -> Result<HTTPResponse, CallFailure> {
        self.state.withLock { state in
            state.counters.attempts += 1
            state.budget.noteRequest()
        }
        let response: HTTPResponse
        do {
            response = try await self.transport.send(
                HTTPRequest(
                    method: call.method,
                    url: call.url,
                    headers: [("Authorization", key)] + call.headers,
                    body: call.body,
                    deadline: call.deadline ?? self.retry.requestTimeout,
                    stallLimit: call.stallLimit ?? self.retry.requestTimeout,
                    sharesConnection: call.sharesConnection,
                    isFirstOfMany: call.isFirstOfMany,
                    maximumAnswerByteCount: call.maximumAnswerByteCount,
                    handle: handle
                ),
                into: sink
            )
        } catch {
            if error == .cancelled { throw .cancelled }
            return .failure(CallFailure(error))
        }
        if response.status == 200 || (sink == nil && (201..<300).contains(response.status)) {
            guard sink == nil else { return .success(response) }
            // A page where the API has JSON or nothing: some portal or front page answers in the service's place.
            if AnswerText.isMarkup(response.body) {
                return .failure(.malformed(.malformedAnswer(RemoteCall.pageText)))
            }
            // Names of other systems may be any bytes; what answers a change is JSON or nothing.
            if call.method != .get, AnswerText.isBinary(response.body) {
                return .failure(.malformed(.malformedAnswer("the server's answer is no text")))
            }
            return .success(response)
        }
        var failure = CallFailure(response, hiding: key)
        if failure.isTransient, let wait = self.retryAfter(response) {
            failure.retryAfter = wait
            let moment = self.retry.clock.now() + wait
            self.state.withLock { $0.notBefore = max($0.notBefore, moment) }
        }
        return .failure(failure)
    }

    /// What Retry-After says (RFC 9110, section 10.2.3): seconds, or a date by the server's own clock.
    private func retryAfter(_ response: HTTPResponse) -> Duration? {
        guard let text = response.headers["retry-after"] else { return nil }
        var seconds = Int64(text)
        if let date = WallClock.seconds(fromHTTPDate: text) {
            let now = response.headers["date"].flatMap { WallClock.seconds(fromHTTPDate: $0) }
            seconds = date - (now ?? self.retry.clock.secondsSince1970())
        }
        guard let seconds, seconds > 0 else { return nil }
        return min(.seconds(min(seconds, 86_400)), self.retry.retryAfterLimit)
    }
}

/// What a client has done so far.
public struct RemoteCounters: Sendable, Hashable {
    /// Requests sent, repeated ones too.
    public var attempts: UInt64 = 0
    /// How many of them repeated a call that had failed.
    public var retries: UInt64 = 0
    /// Calls that failed for good although they might have succeeded later.
    public var givenUp: UInt64 = 0
    /// Requests sent beside, or instead of, one that was slower than its peers by far.
    public var hedges: UInt64 = 0
    /// Requests on the way now.
    public var inFlight = 0
    /// The most there ever were.
    public var inFlightMaximum = 0
    /// How many there may be now: fewer while the server refuses for being asked too much.
    public var inFlightLimit = 0
    /// Requests that wait for a place.
    public var queued = 0
}

/// One call, as it is sent at every attempt.
struct RemoteCall: Sendable {
    /// What logs name it.
    var name: String
    var method: HTTPRequest.Method
    var url: String
    var headers: [(name: String, value: String)] = []
    var body: BodySource = .none
    /// The policy's time-out unless given.
    var deadline: Duration?
    /// The policy's time-out unless given.
    var stallLimit: Duration?
    /// Whether it is small enough to share a connection with others; see ``HTTPRequest/sharesConnection``.
    var sharesConnection = true
    /// See ``HTTPRequest/isFirstOfMany``.
    var isFirstOfMany = false
    /// See ``HTTPRequest/maximumAnswerByteCount``.
    var maximumAnswerByteCount = 1 << 20

    /// The same, being the first of many or not.
    func first(ofMany isFirstOfMany: Bool) -> RemoteCall {
        var call = self
        call.isFirstOfMany = isFirstOfMany
        return call
    }

    static let pageText = "the server answered HTML, is the endpoint right?"

    /// What a log may say: no headers and no path.
    var metadata: Logger.Metadata {
        ["call": "\(self.name)", "method": "\(self.method.rawValue)"]
    }

    func metadata(attempt: Int, cause: RemoteError) -> Logger.Metadata {
        self.metadata.merging(["attempt": "\(attempt)", "cause": "\(cause)"]) { $1 }
    }
}
