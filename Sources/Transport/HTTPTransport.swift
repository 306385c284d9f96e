/// Sends HTTP requests.
public protocol HTTPTransport: Sendable {
    /// Sends one request, once; it is never retried here.
    ///
    /// - Parameters:
    ///   - request: What to send.
    ///   - sink: Where the body of a 200 goes as it arrives; without one, and for every other status, the body is
    ///     collected in the response.
    /// - Returns: The response, whatever its status.
    /// - Throws: What kept a whole response from arriving; `.cancelled` if the task was cancelled.
    func send(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(TransportError) -> HTTPResponse
}

/// One request. It holds the API key in its headers: never print one.
public struct HTTPRequest: Sendable {
    /// The methods that the API uses.
    public enum Method: String, Sendable {
        /// Reads.
        case get = "GET"
        /// Starts and ends.
        case post = "POST"
        /// Sends a part.
        case put = "PUT"
        /// Deletes.
        case delete = "DELETE"
    }

    /// The method.
    public var method: Method
    /// The whole URL, percent-encoded.
    public var url: String
    /// Names and values, in the order to send; the values are free of CR, LF and NUL.
    public var headers: [(name: String, value: String)]
    /// What is sent as the body.
    public var body: BodySource
    /// The whole request's limit: connecting, sending, waiting and receiving.
    public var deadline: Duration
    /// How long the connection may stand still (no byte either way) before the request is given up.
    public var stallLimit: Duration
    /// Whether it waits for a place on a connection that carries others beside it, where the server speaks HTTP/2.
    /// Without, it has a connection to itself: what large bodies need, of which one connection carries no more than
    /// its window in each round trip, and those that came first hold up the others.
    public var sharesConnection: Bool
    /// Whether a great many of its kind may follow at once, so that it pays to make connections for them meanwhile.
    public var isFirstOfMany: Bool
    /// Whether the response is to tell of the server's certificate; only one that came over a new connection can.
    public var asksForCertificate: Bool
    /// The largest body of a 200 that is collected in memory for want of a sink, in bytes.
    public var maximumAnswerByteCount: Int
    /// What its sender sees of it, and ends it by.
    public var handle: TransferHandle?

    /// Makes a request.
    public init(
        method: Method,
        url: String,
        headers: [(name: String, value: String)] = [],
        body: BodySource = .none,
        deadline: Duration,
        stallLimit: Duration,
        sharesConnection: Bool = false,
        isFirstOfMany: Bool = false,
        asksForCertificate: Bool = false,
        maximumAnswerByteCount: Int = 1 << 20,
        handle: TransferHandle? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.deadline = deadline
        self.stallLimit = stallLimit
        self.sharesConnection = sharesConnection
        self.isFirstOfMany = isFirstOfMany
        self.asksForCertificate = asksForCertificate
        self.maximumAnswerByteCount = maximumAnswerByteCount
        self.handle = handle
    }
}

/// One response.
public struct HTTPResponse: Sendable {
    /// The status code.
    public var status: Int
    /// The headers, their names in lower case; of repeated ones the last.
    public var headers: [String: String]
    /// The body, empty where a sink took it; at most ``maximumCollectedByteCount`` bytes of it are kept
    /// when the status is not 200.
    public var body: [UInt8]
    /// The major version of HTTP that it came over.
    public var majorVersion: Int
    /// When the server's certificate ends, in seconds since 1970, if the request asked for it and a TLS handshake was
    /// made for it.
    public var certificateEnd: Int64?

    /// How much of an error's body is kept, in bytes: one line is all that the API promises.
    public static let maximumCollectedByteCount = 64 << 10

    /// Makes a response.
    public init(
        status: Int,
        headers: [String: String] = [:],
        body: [UInt8] = [],
        majorVersion: Int = 1,
        certificateEnd: Int64? = nil
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.majorVersion = majorVersion
        self.certificateEnd = certificateEnd
    }
}

/// Takes a body as it arrives.
///
/// Called on the transport's own thread, one call at a time, never after `send` returned.
public protocol BodySink: AnyObject, Sendable {
    /// A body begins of which the server says how long it is; called before its first bytes.
    ///
    /// - Parameter count: Its length in bytes.
    /// - Returns: Whether it is wanted; `false` ends the transfer with ``TransportError/refusedBySink``.
    func begin(_ count: UInt64) -> Bool

    /// The next bytes are another response's: the file may have been replaced since those before them.
    func willJoin()

    /// Takes the next bytes, which are valid only during the call.
    ///
    /// - Returns: Whether all were taken; `false` ends the transfer with ``TransportError/refusedBySink``.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool
}

extension BodySink {
    /// A body of any length is wanted.
    public func begin(_ count: UInt64) -> Bool { true }

    /// It makes no difference.
    public func willJoin() {}
}

/// What is sent as a body.
public enum BodySource: Sendable {
    /// Nothing.
    case none
    /// A small body, whole.
    case bytes([UInt8])
    /// A body read while it is sent.
    case reader(any BodyReader)
}

/// A body that is read while it is sent, from any offset, so that it can be sent again.
///
/// Called on the transport's own thread.
public protocol BodyReader: Sendable {
    /// The body's length in bytes; exactly so many are sent.
    var count: UInt64 { get }

    /// Whether ``isReady(at:_:)`` may say no until the answers of other requests are here: if too many waited at once, they
    /// would have all connections, and those requests none.
    var waitsForRequests: Bool { get }

    /// Asked before each ``read(at:into:)``. While the answer is no, the request waits, which counts neither for its
    /// deadline nor as standing still.
    ///
    /// - Parameters:
    ///   - offset: Where, in bytes from the body's start.
    ///   - resume: Called, where the answer is no, once from any thread when it is worth asking again: the bytes are
    ///     here, or cannot be had, which ``read(at:into:)`` then tells. It takes the place of one that was given before.
    /// - Returns: Whether bytes from `offset` on can be read now.
    func isReady(at offset: UInt64, _ resume: @escaping @Sendable () -> Void) -> Bool

    /// Fills `buffer` from `offset` bytes into the body.
    ///
    /// - Returns: How many bytes were filled in, at least one; nothing if they cannot be had, which fails the request.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int?
}

extension BodyReader {
    /// What is here already waits for nothing.
    public var waitsForRequests: Bool { false }

    /// What is here already is always ready.
    public func isReady(at offset: UInt64, _ resume: @escaping @Sendable () -> Void) -> Bool { true }
}

/// What kept a whole response from arriving.
public enum TransportError: Error, Hashable, Sendable {
    /// No connection came to be: nothing was sent. The text says why.
    case notConnected(String)
    /// The server's certificate or the TLS handshake was not acceptable: nothing was sent.
    case insecure(String)
    /// The deadline passed or the connection stood still; the server may have acted on the request.
    case timedOut
    /// The connection broke, or spoke no HTTP; the server may have acted on the request.
    case interrupted(String)
    /// The sink took no more.
    case refusedBySink
    /// The request's own body could not be read.
    case unreadableBody
    /// The task was cancelled; the server may have acted on the request.
    case cancelled
    /// The request cannot be sent at all, such as for a malformed URL.
    case invalidRequest(String)
}
