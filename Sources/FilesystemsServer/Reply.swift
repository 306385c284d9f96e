import Hummingbird

/// What a route answers when nothing went wrong, and the line of text when something did.
enum Reply: Sendable {
    /// 200 without a body.
    case empty
    /// 200 and JSON.
    case json(ByteBuffer)
    /// A status and one line.
    case text(HTTPResponse.Status, String)
    /// 200 and bytes of a file that are in memory.
    case bytes(ByteBuffer)
    /// 200 and much of something, which goes out as the client takes it.
    case paced(PacedBody, contentType: String)
}
