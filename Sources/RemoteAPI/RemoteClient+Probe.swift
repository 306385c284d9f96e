import Transport
import WireFormat

/// What one request for the list of filesystems told of the service and of the way to it.
public struct ServiceProbe: Sendable {
    /// The status of the answer.
    public var status: Int
    /// How many filesystems the key may use; nothing if the answer is not the API's.
    public var filesystemCount: Int?
    /// The answer's first line of text, where it is not the API's.
    public var message: String
    /// The major version of HTTP.
    public var majorVersion: Int
    /// By how many seconds the server's clock is ahead of ours; nothing if it did not tell its time.
    public var clockOffset: Int64?
    /// When the server's certificate ends, in seconds since 1970, where a TLS handshake was made for this request.
    public var certificateEnd: Int64?
    /// How long the answer took.
    public var duration: Duration
    /// Whether the answer has an id of its request, by which the service's operators find it.
    public var hasRequestID: Bool
}

extension RemoteClient {
    /// Asks once for the list of filesystems, whatever comes of it.
    ///
    /// - Returns: What was answered.
    /// - Throws: What kept an answer from coming.
    public func probe() async throws(TransportError) -> ServiceProbe {
        let key = self.credentials.key()
        let start = self.retry.clock.now()
        let response = try await self.transport.send(
            HTTPRequest(
                method: .get,
                url: "\(self.endpoint.url)/filesystems",
                headers: [("Authorization", key)],
                deadline: self.retry.requestTimeout,
                stallLimit: self.retry.requestTimeout,
                sharesConnection: true,
                asksForCertificate: true,
                maximumAnswerByteCount: Self.filesystemsByteCount
            ),
            into: nil
        )
        let date = response.headers["date"].flatMap { WallClock.seconds(fromHTTPDate: $0) }
        return ServiceProbe(
            status: response.status,
            filesystemCount: response.status == 200
                ? (try? JSONBody.decode([FilesystemBody].self, response.body))?.count : nil,
            message: AnswerText.message(response, hiding: key),
            majorVersion: response.majorVersion,
            clockOffset: date.map { $0 - self.retry.clock.secondsSince1970() },
            certificateEnd: response.certificateEnd,
            duration: self.retry.clock.now() - start,
            hasRequestID: AnswerText.requestID(response) != nil
        )
    }
}
