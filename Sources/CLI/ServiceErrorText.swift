import RemoteAPI

/// Lines for what calls to the service end with.
struct ServiceErrorText: Sendable {
    /// Where the service is.
    let endpoint: Endpoint
    /// Where the key is from.
    let keySource: KeySource

    /// The line of an error.
    func callAsFunction(_ error: RemoteError) -> UserError {
        UserError(self.text(error))
    }

    /// The line for a server that is silent for longer than the command may take.
    func noAnswer(within limit: Duration) -> UserError {
        UserError("cannot reach \(self.endpoint): no answer within \(limit.components.seconds) s")
    }

    private func text(_ error: RemoteError) -> String {
        switch error {
        case .unauthorized: "the server refused the API key (from \(self.keySource.place))"
        case .forbidden: "the server does not allow this with the API key from \(self.keySource.place)"
        case .notFound: "\(self.endpoint) does not know this call or this filesystem; is the endpoint right?"
        case .alreadyExists: "it exists already"
        case .changedKind: "it has changed meanwhile; nothing was done"
        case .outOfSpace: "the server has no room left"
        case .rejected(let status, let message):
            "the server refused the call (status \(status))" + self.detail(message)
        case .unavailable, .failed: "cannot reach \(self.endpoint)" + self.detail(error.description)
        case .timedOut: "cannot reach \(self.endpoint): no answer in time"
        case .malformedAnswer(let reason):
            "\(self.endpoint) does not answer like the Filesystems API" + self.detail(reason)
        case .unreadableBody: "what was to be sent could not be read"
        case .cancelled: "interrupted"
        }
    }

    private func detail(_ text: String) -> String {
        let text = Printable.text(text)
        return text.isEmpty ? "" : ": \(text)"
    }
}
