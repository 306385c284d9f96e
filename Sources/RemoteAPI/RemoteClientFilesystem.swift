import Transport
import WireFormat

/// One filesystem of the service.
public struct RemoteClientFilesystem: RemoteFilesystem {
    let client: RemoteClient
    /// The filesystem's id.
    public let id: FilesystemID

    /// Nothing beyond the bare API is known of any server yet.
    public var capabilities: ServerCapabilities { .bare }

    /// The URL of one of the API's branches (`list`, `mkdir`, `files`) at a path.
    func url(_ branch: String, _ path: RemotePath) -> String {
        "\(self.client.endpoint.url)/filesystems/\(self.id)/\(branch)/\(path.percentEncoded)"
    }

    /// What the parent's listing, asked for now, says of a name; nothing if it is not there.
    func kind(of path: RemotePath) async throws(RemoteError) -> EntryKind? {
        guard let name = path.name else { return .directory }
        do {
            return try await self.list(path.parent).entries.first { $0.name == name }?.kind
        } catch {
            // The parent itself is gone, and with it what was in it.
            if error == .notFound { return nil }
            throw error
        }
    }
}
