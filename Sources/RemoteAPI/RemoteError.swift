/// What a call to the service ends with when it does not succeed.
public enum RemoteError: Error, Hashable, Sendable {
    /// The server says that there is no such thing (404, or 400 to a delete). Only a listing proves it.
    case notFound
    /// The name is taken (409).
    case alreadyExists
    /// The name now stands for another kind of thing than the caller confirmed; nothing was sent.
    case changedKind
    /// The key is missing, wrong or no longer valid (401).
    case unauthorized
    /// The key is valid but may not do this (403).
    case forbidden
    /// The server has no room left (413, 507).
    case outOfSpace
    /// The server refused the call as it was made; with its one line of text.
    case rejected(status: Int, message: String)
    /// The server could not be reached, or something before it says that it is away or has enough, also at the last
    /// attempt; the text says how.
    case unavailable(String)
    /// The server answered that it failed at this (500 and the like), also at the last attempt; with its one line of text.
    case failed(status: Int, message: String)
    /// No answer within the deadline, also at the last attempt.
    case timedOut
    /// The answer was not what the API promises: HTML, wrong JSON types, too many bytes.
    case malformedAnswer(String)
    /// The bytes to send could not be read from here.
    case unreadableBody
    /// The task was cancelled.
    case cancelled
}

extension RemoteError: CustomStringConvertible {
    /// One line for a log or a person.
    public var description: String {
        switch self {
        case .notFound: "the server says that there is no such thing"
        case .alreadyExists: "the name is taken on the server"
        case .changedKind: "the name now stands for something else on the server"
        case .unauthorized: "the server does not accept the API key (401)"
        case .forbidden: "the API key may not do this (403)"
        case .outOfSpace: "the server has no room left"
        case .rejected(let status, let message):
            "the server refused it (\(status))" + (message.isEmpty ? "" : ": \(message)")
        case .unavailable(let text): text
        case .failed(let status, let message):
            "the server answered \(status)" + (message.isEmpty ? "" : ": \(message)")
        case .timedOut: "the server did not answer in time"
        case .malformedAnswer(let text): text
        case .unreadableBody: "the bytes to send could not be read"
        case .cancelled: "interrupted"
        }
    }
}
