import Primitives
import RemoteAPI
import WireFormat

/// One version of a file on the service, as the cache needs to know it.
public struct BlockSource: Sendable {
    /// The version; blocks are cached under it.
    public let content: ContentID
    /// Its size in bytes.
    public let size: UInt64
    /// Where the file is now: renames move it under readers. Nothing once it is gone.
    public let path: @Sendable () -> RemotePath?
    /// Called when the service was seen to have another version: nothing of this one may be read any more.
    public let outdated: @Sendable () -> Void

    /// Makes a source.
    public init(
        content: ContentID,
        size: UInt64,
        outdated: @escaping @Sendable () -> Void = {},
        path: @escaping @Sendable () -> RemotePath?
    ) {
        self.content = content
        self.size = size
        self.outdated = outdated
        self.path = path
    }
}

/// Why bytes could not be had.
public enum BlockError: Error, Hashable, Sendable {
    /// The service failed.
    case remote(RemoteError)
    /// The file on the service is shorter than the version we know: it was replaced.
    case changedOnServer
    /// The file has no path any more.
    case gone
    /// The reader was cancelled.
    case cancelled
}
