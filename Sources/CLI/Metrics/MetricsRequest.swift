import RemoteAPI

/// A request for metrics, as far as it has come in (RFC 9112).
enum MetricsRequest: Equatable {
    /// More is to come.
    case incomplete
    /// `GET /metrics`.
    case metrics
    /// Something else.
    case refused(Status)

    /// What is answered.
    enum Status: String {
        /// Here they are.
        case ok = "200 OK"
        /// No HTTP/1.
        case malformed = "400 Bad Request"
        /// There is but one thing here.
        case notFound = "404 Not Found"
        /// It is to be had in but one way.
        case methodNotAllowed = "405 Method Not Allowed"
        /// It did not come to its end.
        case timedOut = "408 Request Timeout"
        /// Another name led to this machine: some page's, whose scripts a browser would give the answer.
        case misdirected = "421 Misdirected Request"
        /// The request line is too long.
        case lineTooLong = "414 URI Too Long"
        /// The headers are.
        case headTooLong = "431 Request Header Fields Too Large"
        /// Another version of HTTP.
        case version = "505 HTTP Version Not Supported"
    }

    /// What scrapers send has some hundred bytes.
    static let maximumLineByteCount = 1024
    static let maximumHeadByteCount = 8 << 10

    /// Reads what has come in.
    ///
    /// - Parameters:
    ///   - bytes: That.
    ///   - takesAnyHost: Whether it may be meant for any host: a page's scripts do not get at unix sockets.
    init(_ bytes: [UInt8], takesAnyHost: Bool = false) {
        guard let head = Self.head(bytes) else {
            let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
            if line.count > Self.maximumLineByteCount {
                self = .refused(.lineTooLong)
            } else {
                self = bytes.count > Self.maximumHeadByteCount ? .refused(.headTooLong) : .incomplete
            }
            return
        }
        self = Self.request(head, takesAnyHost: takesAnyHost)
    }

    /// The head without the empty line at its end; nothing if that has not come yet.
    private static func head(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        let end = Array("\r\n\r\n".utf8)
        guard bytes.count >= end.count else { return nil }
        let start = (0...bytes.count - end.count).first { bytes[$0..<$0 + end.count].elementsEqual(end) }
        return start.flatMap { $0 > Self.maximumHeadByteCount ? nil : bytes[..<$0] }
    }

    private static func request(_ head: ArraySlice<UInt8>, takesAnyHost: Bool) -> MetricsRequest {
        // "\r\n" is one character.
        let lines = String(decoding: head, as: UTF8.self)
            .split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = (lines.first ?? "").split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[2].hasPrefix("HTTP/") else {
            return .refused(.malformed)
        }
        guard lines[0].utf8.count <= Self.maximumLineByteCount else { return .refused(.lineTooLong) }
        guard ["HTTP/1.1", "HTTP/1.0"].contains(words[2]) else { return .refused(.version) }
        guard let fields = Self.fields(lines.dropFirst()) else { return .refused(.malformed) }
        let hosts = fields.filter { $0.name == "host" }.map(\.value)
        guard hosts.count == 1 || (hosts.isEmpty && words[2] == "HTTP/1.0") else {
            return .refused(.malformed)
        }
        guard words[1] == "/metrics" else { return .refused(.notFound) }
        guard words[0] == "GET" else { return .refused(.methodNotAllowed) }
        let isOurs = hosts.allSatisfy { Endpoint("http://\($0)")?.isLoopback == true }
        return takesAnyHost || isOurs ? .metrics : .refused(.misdirected)
    }

    /// The headers, their names in lower case; nothing if one is none.
    private static func fields(_ lines: ArraySlice<Substring>) -> [(name: String, value: String)]? {
        var fields: [(name: String, value: String)] = []
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex,
                line[..<colon].allSatisfy({ $0.isASCII && !$0.isWhitespace })
            else { return nil }
            fields.append((line[..<colon].lowercased(), String(line[line.index(after: colon)...]).trimmed))
        }
        return fields
    }

    /// An answer, after which the connection ends.
    static func response(_ status: Status, _ body: String) -> [UInt8] {
        let body = Array(body.utf8)
        var lines = [
            "HTTP/1.1 \(status.rawValue)", "Content-Type: text/plain; version=0.0.4; charset=utf-8",
            "Content-Length: \(body.count)", "Connection: close",
        ]
        if status == .methodNotAllowed { lines.append("Allow: GET") }
        return Array((lines + ["", ""]).joined(separator: "\r\n").utf8) + body
    }
}
