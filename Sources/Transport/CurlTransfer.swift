import Synchronization

/// Whether a request's task was cancelled.
final class CancellationFlag: Sendable {
    let isSet = Atomic<Bool>(false)
}

/// One request on its way: what was asked, what has arrived, and who waits for it.
///
/// Unchecked: the caller makes it and gives it away through the inbox's mutex; from then on only the loop's thread
/// reads and writes its variables.
final class CurlTransfer: @unchecked Sendable {
    typealias Continuation = CheckedContinuation<Result<HTTPResponse, TransportError>, Never>

    /// Why we ended a transfer ourselves.
    enum Stop {
        /// The sink, or the bound on collected bodies, took no more.
        case refusedBySink
        /// As much of an error's body has come as is kept.
        case hasEnough
        /// The request's body could not be read.
        case unreadableBody
        /// curl was about to send once more what must go out only once.
        case wouldRepeat
    }

    let id: UInt64
    let request: HTTPRequest
    let cancellation: CancellationFlag
    /// Has the loop go on with a transfer whose body was not ready.
    private let resumption: @Sendable () -> Void
    /// The handle while it is attached.
    var easy: CurlEasy?
    private(set) var stop: Stop?
    /// How often curl had a connection and began to send.
    private(set) var sendCount = 0
    /// Whether bytes went either way since the loop last looked.
    private var hasMoved = false
    /// When the loop last saw that they had.
    private var lastMoved: ContinuousClock.Instant?
    /// When its time is over.
    private var end: ContinuousClock.Instant
    /// Since when it waits for its own body.
    private var pauseStart: ContinuousClock.Instant?
    private var majorVersion = 1
    private var status = 0
    /// Whether the empty line after the response's head has come.
    private(set) var headIsWhole = false
    private var headers: [String: String] = [:]
    /// Whether the sink has heard of the body.
    private var bodyHasBegun = false
    private var body: [UInt8] = []
    private var bytesSent: UInt64 = 0
    private let traffic: TrafficCounters
    private let sink: (any BodySink)?
    private let continuation: Continuation

    init(
        id: UInt64,
        request: HTTPRequest,
        sink: (any BodySink)?,
        traffic: TrafficCounters,
        cancellation: CancellationFlag,
        resumption: @escaping @Sendable () -> Void,
        continuation: Continuation
    ) {
        self.id = id
        self.request = request
        self.sink = sink
        self.traffic = traffic
        self.cancellation = cancellation
        self.resumption = resumption
        self.end = .now + request.deadline
        self.continuation = continuation
    }

    /// Whether it reads bytes of a file.
    var hasSink: Bool { self.sink != nil }
    var isFirstOfMany: Bool { self.request.isFirstOfMany }

    /// What arrived.
    var response: HTTPResponse {
        HTTPResponse(
            status: self.status,
            headers: self.headers,
            body: self.body,
            majorVersion: self.majorVersion,
            certificateEnd: self.easy?.certificateEnd
        )
    }

    /// Tells who waits; called once.
    func complete(_ result: Result<HTTPResponse, TransportError>) {
        self.endPause(.now)
        self.continuation.resume(returning: result)
    }

    /// Whether no byte has gone either way for as long as the request allows. Waiting for the answer counts, waiting
    /// for a connection does not.
    ///
    /// curl's own LOW_SPEED options look at the mean of some seconds and so notice seconds late.
    func isStalled(_ now: ContinuousClock.Instant) -> Bool {
        if self.hasMoved {
            self.hasMoved = false
            self.lastMoved = now
        }
        guard let lastMoved = self.lastMoved, self.pauseStart == nil else { return false }
        return now - lastMoved >= self.request.stallLimit
    }

    /// Whether its time is over, less what it waited for its own body. curl would count that too, and does not count at
    /// all, before its version 8.8, while a request waits for a connection.
    func isOverdue(_ now: ContinuousClock.Instant) -> Bool { self.pauseStart == nil && now >= self.end }

    /// Ends a pause, where there is one.
    func endPause(_ now: ContinuousClock.Instant) {
        guard let start = self.pauseStart else { return }
        self.pauseStart = nil
        self.end += now - start
        self.hasMoved = true
        self.request.handle?.note(isPaused: false)
    }

    /// A connection is up and the request about to be sent: whether it may be.
    func willSend() -> Bool {
        self.sendCount += 1
        self.hasMoved = true
        guard self.sendCount > 1 else { return true }
        // curl repeats a request that died with a kept connection. The server may have acted on it, so that only
        // what does no harm twice is let through.
        switch self.request.method {
        case .get, .put: return true
        case .post, .delete:
            self.stop = .wouldRepeat
            return false
        }
    }

    /// Takes a line of the response's head.
    func receiveHeader(_ line: UnsafeRawBufferPointer) {
        self.hasMoved = true
        let text = String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            // Also after a 100 Continue: what counts is the last head.
            self.headers.removeAll(keepingCapacity: true)
            self.headIsWhole = false
            self.majorVersion = text.dropFirst(5).first?.wholeNumberValue ?? 1
            self.status = Int(text.split(separator: " ").dropFirst().first?.prefix(3) ?? "") ?? 0
            return
        }
        if text.allSatisfy(\.isNewline) { self.headIsWhole = true }
        guard let colon = text.firstIndex(of: ":"), self.headers.count < Self.maximumHeaderCount else {
            return
        }
        let value = text[text.index(after: colon)...]
        self.headers[text[..<colon].lowercased()] = String(Self.trimmed(value))
    }

    /// Takes bytes of the response's body: whether they were taken.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if bytes.isEmpty { return true }
        self.hasMoved = true
        self.request.handle?.note(received: bytes.count)
        self.traffic.received.add(UInt64(bytes.count), ordering: .relaxed)
        if self.status == 200, let sink = self.sink {
            if self.begin(sink), sink.receive(bytes) { return true }
            self.stop = .refusedBySink
            return false
        }
        let limit =
            self.status == 200
            ? self.request.maximumAnswerByteCount : HTTPResponse.maximumCollectedByteCount
        if self.body.isEmpty, let length = self.headers["content-length"].flatMap({ Int($0) }) {
            self.body.reserveCapacity(min(max(0, length), limit, 16 << 20))
        }
        let room = max(0, limit - self.body.count)
        self.body.append(contentsOf: bytes.prefix(room))
        if bytes.count <= room { return true }
        self.stop = self.status == 200 ? .refusedBySink : .hasEnough
        return false
    }

    /// Tells the sink, once, how long the body is if the server says so: whether it wants that.
    private func begin(_ sink: any BodySink) -> Bool {
        if self.bodyHasBegun { return true }
        self.bodyHasBegun = true
        guard let count = self.headers["content-length"].flatMap({ UInt64($0) }) else { return true }
        return sink.begin(count)
    }

    /// What is given of a request's body.
    enum Provided {
        /// So many bytes, 0 at its end.
        case bytes(Int)
        /// None yet.
        case later
        /// They cannot be had.
        case nothing
    }

    /// Fills in the next bytes of the request's body.
    func provide(_ buffer: UnsafeMutableRawBufferPointer) -> Provided {
        guard case .reader(let reader) = self.request.body, reader.count >= self.bytesSent else {
            return .nothing
        }
        let wanted = Int(min(UInt64(buffer.count), reader.count - self.bytesSent))
        if wanted == 0 { return .bytes(0) }
        guard reader.isReady(at: self.bytesSent, self.resumption) else {
            if self.pauseStart == nil {
                self.pauseStart = .now
                self.request.handle?.note(isPaused: true)
            }
            return .later
        }
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        guard let count = reader.read(at: self.bytesSent, into: part), (1...wanted).contains(count) else {
            self.stop = .unreadableBody
            return .nothing
        }
        self.bytesSent += UInt64(count)
        self.traffic.sent.add(UInt64(count), ordering: .relaxed)
        self.request.handle?.note(sent: count)
        self.hasMoved = true
        return .bytes(count)
    }

    /// Goes back, or on, to an offset of the request's body.
    func seek(to offset: Int64) -> Bool {
        guard offset >= 0 else { return false }
        self.bytesSent = UInt64(offset)
        return true
    }

    /// A hostile server's head must not fill the memory.
    private static let maximumHeaderCount = 256

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text.drop(while: \.isWhitespace)
    }
}
