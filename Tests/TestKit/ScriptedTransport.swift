import Primitives
import Synchronization
import Transport

/// A transport that answers from a script and writes down what it was asked to send.
public final class ScriptedTransport: HTTPTransport {
    /// What a request comes to.
    public enum Step: Sendable {
        /// An answer; the body of a 200 goes to the sink where there is one.
        case answer(HTTPResponse)
        /// A body that breaks off: so much of it reaches the sink.
        case broken([UInt8], TransportError)
        /// So much of a body, and then nothing more until the request is stopped or its task cancelled.
        case stalled([UInt8])
        /// Nothing but a failure.
        case fail(TransportError)

        /// An answer with a body of text.
        public static func text(_ status: Int, _ body: String = "", _ headers: [String: String] = [:]) -> Step
        {
            .bytes(status, Array(body.utf8), headers)
        }

        /// An answer with a body of bytes, whose end is marked as servers do.
        public static func bytes(_ status: Int, _ body: [UInt8], _ headers: [String: String] = [:]) -> Step {
            let marked = headers.merging(["content-length": String(body.count)]) { $1 }
            return .answer(HTTPResponse(status: status, headers: marked, body: body))
        }

        /// An answer whose body ends where the connection does.
        public static func unmarked(_ status: Int, _ body: [UInt8]) -> Step {
            .answer(HTTPResponse(status: status, body: body))
        }
    }

    /// A request as it would have gone out.
    public struct Sent: Sendable {
        /// Method and URL, such as `GET http://server/list/`.
        public let line: String
        /// The headers, `Name: value` each, in order.
        public let headers: [String]
        /// The body as text.
        public let body: String
        /// The body's bytes, as many as could be had.
        public let bytes: [UInt8]
        /// Its limit.
        public let deadline: Duration
        /// Its limit for standing still.
        public let stallLimit: Duration

        /// Headers but the key's.
        public var ownHeaders: [String] { self.headers.filter { !$0.hasPrefix("Authorization") } }
    }

    private struct State {
        var steps: ArraySlice<Step>
        var sent: [Sent] = []
    }

    private let state: Mutex<State>
    private let onSend: @Sendable (Sent) -> Void
    /// Counts those that stand still.
    public let stalls = Tally()

    /// Answers in this order; a request beyond the script's end cannot be sent.
    ///
    /// - Parameters:
    ///   - steps: What requests come to.
    ///   - onSend: Told of each request before it is answered.
    public init(_ steps: [Step], onSend: @escaping @Sendable (Sent) -> Void = { _ in }) {
        self.state = Mutex(State(steps: steps[...]))
        self.onSend = onSend
    }

    /// What was sent so far.
    public var sent: [Sent] { self.state.withLock { $0.sent } }

    /// Their methods and URLs.
    public var lines: [String] { self.sent.map(\.line) }

    /// How many steps were not needed.
    public var restCount: Int { self.state.withLock { $0.steps.count } }

    /// Writes the request down and takes the script's next step.
    public func send(
        _ request: HTTPRequest,
        into sink: (any BodySink)?
    ) async throws(TransportError) -> HTTPResponse {
        if Task.isCancelled { throw .cancelled }
        let bytes: [UInt8]? =
            switch request.body {
            case .none: []
            case .bytes(let bytes): bytes
            case .reader(let reader): await reader.readAll(request.handle)
            }
        let sent = Sent(
            line: "\(request.method.rawValue) \(request.url)",
            headers: request.headers.map { "\($0.name): \($0.value)" },
            body: String(decoding: bytes ?? [], as: UTF8.self),
            bytes: bytes ?? [],
            deadline: request.deadline,
            stallLimit: request.stallLimit
        )
        let step: Step? = self.state.withLock { state in
            state.sent.append(sent)
            return state.steps.popFirst()
        }
        self.onSend(sent)
        guard bytes != nil else { throw Task.isCancelled ? .cancelled : .unreadableBody }
        switch step {
        case nil: throw .invalidRequest("the script has no more steps")
        case .fail(let error): throw error
        case .broken(let body, let error):
            guard Self.deliver(body, to: sink, request.handle) else { throw .refusedBySink }
            throw error
        case .stalled(let body):
            guard Self.deliver(body, to: sink, request.handle) else { throw .refusedBySink }
            let stopped = OneShot<Void>()
            request.handle?.whenStopped { stopped.resolve(()) }
            self.stalls.add()
            _ = await stopped.wait()
            throw .cancelled
        case .answer(var response):
            guard response.status == 200, let sink else {
                if !response.body.isEmpty { request.handle?.note(received: response.body.count) }
                return response
            }
            if let count = response.headers["content-length"].flatMap({ UInt64($0) }),
                !response.body.isEmpty, !sink.begin(count)
            {
                throw .refusedBySink
            }
            guard Self.deliver(response.body, to: sink, request.handle) else { throw .refusedBySink }
            response.body = []
            return response
        }
    }

    /// In pieces, as from a network.
    private static func deliver(
        _ body: [UInt8],
        to sink: (any BodySink)?,
        _ handle: TransferHandle?
    ) -> Bool {
        guard let sink else { return true }
        var rest = body[...]
        while !rest.isEmpty {
            let piece = rest.prefix(10_007)
            handle?.note(received: piece.count)
            guard piece.withUnsafeBytes({ sink.receive($0) }) else { return false }
            rest = rest.dropFirst(piece.count)
        }
        return true
    }
}
