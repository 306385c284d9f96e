import Transport

/// What one attempt of a call ended with, when not with success: what it means, and what may be done about it.
struct CallFailure: Error {
    /// What the caller is told if this was the last attempt.
    var error: RemoteError
    /// The status, if there was an answer.
    var status: Int?
    /// Whether the same call may succeed a little later.
    var isTransient = false
    /// Whether the server may have done what it was asked.
    var mayHaveActed = false
    /// How long the server asks everyone to wait.
    var retryAfter: Duration?

    /// What an answer means that says success and is not what the API promises: something between us and the service
    /// may have spoiled it, or given it in the service's place.
    static func malformed(_ error: RemoteError) -> CallFailure {
        CallFailure(error: error, status: 200, isTransient: true, mayHaveActed: true)
    }

    /// What it says of the server's having enough.
    var outcome: RequestQueue.Outcome {
        switch self.status {
        case nil: .unknown
        case 429, 503: .refused
        case _?: .answered
        }
    }

    /// Whether the service understood the call, and what it was asked is not, or no longer, possible.
    var isRefusal: Bool {
        guard let status = self.status else { return false }
        return [400, 404, 405, 409, 410, 422].contains(status)
    }
}

extension CallFailure {
    /// What the transport's failure means.
    init(_ error: TransportError) {
        switch error {
        case .notConnected(let text):
            self.init(error: .unavailable(text), isTransient: true)
        case .insecure(let text):
            self.init(error: .unavailable(text))
        case .timedOut:
            self.init(error: .timedOut, isTransient: true, mayHaveActed: true)
        case .interrupted(let text):
            self.init(error: .unavailable(text), isTransient: true, mayHaveActed: true)
        case .refusedBySink:
            self.init(error: .malformedAnswer("the answer is larger than any should be"), mayHaveActed: true)
        case .unreadableBody:
            self.init(error: .unreadableBody)
        case .cancelled:
            self.init(error: .cancelled, mayHaveActed: true)
        case .invalidRequest(let text):
            self.init(error: .unavailable("the request cannot be sent: \(text)"))
        }
    }

    /// What an answer means that is no success.
    ///
    /// - Parameters:
    ///   - response: The answer.
    ///   - key: The key that was sent, which a server's text must not bring to light.
    init(_ response: HTTPResponse, hiding key: String) {
        let status = response.status
        let message = AnswerText.message(response, hiding: key)
        switch status {
        case 300..<400:
            self.init(
                error: .malformedAnswer(
                    "the server answered with a redirect (\(status)), is the endpoint right?"
                )
            )
        case 401: self.init(error: .unauthorized)
        case 403: self.init(error: .forbidden)
        case 404: self.init(error: .notFound)
        case 409: self.init(error: .alreadyExists)
        case 413: self.init(error: .outOfSpace)
        // 507: it may have begun to act, and says that it had no room to end.
        case 507: self.init(error: .outOfSpace)
        case 408, 429:
            self.init(error: Self.unavailable(status, message), isTransient: true)
        case 502, 503, 504:
            self.init(error: Self.unavailable(status, message), isTransient: true, mayHaveActed: true)
        case 400..<500: self.init(error: .rejected(status: status, message: message))
        case 500..<600:
            let error = RemoteError.failed(status: status, message: message)
            self.init(error: error, isTransient: status == 500, mayHaveActed: true)
        default:
            self.init(
                error: .malformedAnswer("the server answered with the status \(status)"),
                mayHaveActed: true
            )
        }
        self.status = status
    }

    private static func unavailable(_ status: Int, _ message: String) -> RemoteError {
        .unavailable(RemoteError.failed(status: status, message: message).description)
    }
}

/// What may be shown of an answer's body.
enum AnswerText {
    /// The first line of an error's text, with the request's id where the service gives one: its operators find the
    /// request by it.
    static func message(_ response: HTTPResponse, hiding key: String) -> String {
        let line = self.firstLine(response.body, hiding: key)
        guard let id = self.requestID(response) else { return line }
        let shown = self.firstLine(Array(id.utf8.prefix(100)), hiding: key)
        return shown.isEmpty ? line : line.isEmpty ? "request \(shown)" : "\(line) (request \(shown))"
    }

    /// The id that the service, or what stands before it, gave the request.
    static func requestID(_ response: HTTPResponse) -> String? {
        self.requestIDHeaders.lazy.compactMap { response.headers[$0] }.first
    }

    /// What gateways and frameworks call it; the API has no word on it.
    private static let requestIDHeaders = [
        "x-request-id", "request-id", "x-amzn-requestid", "apigw-requestid", "x-correlation-id",
    ]

    /// The first line that is not empty, or a page's title: printable, of at most 200 characters, and without the key.
    static func firstLine(_ body: [UInt8], hiding key: String) -> String {
        let text = String(decoding: body.prefix(4096), as: UTF8.self)
        if self.isMarkup(body) {
            let title = self.title(of: text).map { self.shown($0, hiding: key) } ?? ""
            return "an HTML page" + (title.isEmpty ? "" : " with the title '\(title)'")
        }
        let lines = text.split(whereSeparator: \.isNewline).lazy
        return lines.map { self.shown($0, hiding: key) }.first { !$0.isEmpty } ?? ""
    }

    private static func shown(_ text: Substring, hiding key: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            scalars.append(scalar.properties.generalCategory.isPrintable ? scalar : " ")
        }
        let words = String(scalars).split(separator: " ").joined(separator: " ")
        return String((key.isEmpty ? words : words.replacing(key, with: "<hidden>")).prefix(200))
    }

    /// What stands between `<title>` and the next tag: what a proxy refuses a call with.
    private static func title(of page: String) -> Substring? {
        guard let start = page.firstRange(of: "<title>") ?? page.firstRange(of: "<TITLE>") else { return nil }
        return page[start.upperBound...].prefix { $0 != "<" }
    }

    /// Whether a body has bytes that no text has.
    static func isBinary(_ body: [UInt8]) -> Bool {
        body.contains { $0 < 0x20 && ![0x09, 0x0a, 0x0d].contains($0) }
    }

    /// Whether a body is a page and not JSON.
    static func isMarkup(_ body: [UInt8]) -> Bool {
        body.first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) } == UInt8(ascii: "<")
    }
}

extension Unicode.GeneralCategory {
    /// Whether it moves the cursor on and does nothing else.
    fileprivate var isPrintable: Bool {
        switch self {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            false
        default: true
        }
    }
}
