/// Whether requests had better share a connection, from how those fared that did.
///
/// A value: it is told what came of requests that shared one, and asked before the next.
struct SharingHistory {
    private var isOffered = true
    private var pauseEnd: ContinuousClock.Instant?

    /// libcurl keeps an HTTP/2 connection on which requests are given up, though it may be dead: a proxy goes on to
    /// acknowledge what nobody behind it reads. Unused for so long, it is closed by its age.
    static let pause = CurlEasy.idleLimit + .seconds(5)

    /// Whether the next request may share one.
    func isAdvised(at now: ContinuousClock.Instant) -> Bool {
        self.isOffered && self.pauseEnd.map { now >= $0 } != false
    }

    /// Takes note of what came of a request that shared one.
    mutating func note(
        _ result: Result<HTTPResponse, TransportError>,
        at now: ContinuousClock.Instant
    ) {
        switch result {
        // Without HTTP/2 no two share one, and all belong under one bound.
        case .success(let response) where response.majorVersion < 2: self.isOffered = false
        case .failure(.timedOut): self.pauseEnd = now + Self.pause
        case .success, .failure: break
        }
    }
}
