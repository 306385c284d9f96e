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
}
