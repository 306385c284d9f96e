import DiskCaching
import RemoteAPI
import Transport
import WireFormat

/// The service, with a disk cache that hears of every change made through it: what is about to be replaced or deleted is
/// forgotten on the disk before, so that not even a crash brings it back.
public struct ForgettingRemote: RemoteFilesystem {
    private let remote: any RemoteFilesystem
    private let disk: DiskCache

    private static let stuck = RemoteError.unavailable("the disk of the cache does not answer")

    /// Puts the two together.
    public init(_ remote: any RemoteFilesystem, disk: DiskCache) {
        self.remote = remote
        self.disk = disk
    }

    /// What this server can do.
    public var capabilities: ServerCapabilities { self.remote.capabilities }

    /// Lists a directory.
    public func list(_ directory: RemotePath, urgency: RequestUrgency) async throws(RemoteError)
        -> RemoteListing
    {
        try await self.remote.list(directory, urgency: urgency)
    }

    /// Asks for a file's size.
    public func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64 {
        try await self.remote.size(of: file, urgency: urgency)
    }

    /// Reads bytes of a file.
    public func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64 {
        try await self.remote.read(file, range, into: sink, urgency: urgency)
    }

    /// Makes a directory.
    public func makeDirectory(_ directory: RemotePath) async throws(RemoteError) {
        try await self.remote.makeDirectory(directory)
    }

    /// Starts an upload.
    public func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID {
        try await self.remote.beginUpload(file, size: size)
    }

    /// Sends a part.
    public func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError) {
        try await self.remote.putPart(file, upload, at: offset, body: body)
    }

    /// Completes an upload, once what it replaces is forgotten.
    public func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError) {
        try await self.disk.changing(file, orThrow: Self.stuck) { () throws(RemoteError) in
            try await self.remote.completeUpload(file, upload, size: size, previousSize: previousSize)
        }
    }

    /// Deletes a name, once what is kept of it is forgotten.
    public func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError) {
        try await self.disk.changing(path, orThrow: Self.stuck) { () throws(RemoteError) in
            try await self.remote.delete(path, kind: kind)
        }
    }
}
