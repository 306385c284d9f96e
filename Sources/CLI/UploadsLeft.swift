import Transport
import VFS

/// What somebody waits for: what is not uploaded yet, and how much was sent since the waiting began.
///
/// A large file counts whole until its upload is complete, so the bytes sent are what shows that it goes on.
struct UploadsLeft: Sendable {
    private let fileSystem: FileSystem
    private let transport: CurlTransport
    private let sentBefore: UInt64

    /// Begins to count.
    init(_ fileSystem: FileSystem, over transport: CurlTransport) {
        self.fileSystem = fileSystem
        self.transport = transport
        self.sentBefore = transport.counters.bytesSent
    }

    /// For a person: another text whenever something was sent; nothing if all is uploaded.
    var text: String? {
        guard let waiting = self.fileSystem.waiting else { return nil }
        let sent = self.transport.counters.bytesSent - self.sentBefore
        return sent == 0 ? waiting : "\(waiting); \(sent) bytes sent so far"
    }
}

extension FileSystem {
    /// How much is not uploaded yet, for a person; nothing if all is.
    var waiting: String? {
        let (fileCount, byteCount) = self.unsent
        guard fileCount > 0 else { return nil }
        return "\(fileCount) \(fileCount == 1 ? "file" : "files"), \(byteCount) bytes to upload"
    }
}
