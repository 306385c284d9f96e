import Transport
import WireFormat

/// The calls of one filesystem, typed, with deadlines and retries: everything above asks the service through this.
///
/// Each call has a deadline, repeats what is safe to repeat, and finds out whether a lost answer was a success
/// before it repeats what is not. Cancelling the task cancels the transfer and throws `.cancelled`.
public protocol RemoteFilesystem: Sendable {
    /// What this server can do beyond the bare API.
    var capabilities: ServerCapabilities { get }

    /// Lists a directory.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - urgency: Whether somebody waits for it.
    /// - Returns: Its children; some servers answer an empty listing for what does not exist or is a file
    ///   (wire-protocol.md, Directories), so that an empty one proves nothing.
    /// - Throws: `.notFound` if the server says so.
    func list(_ directory: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> RemoteListing

    /// Asks for a file's size in bytes. Some servers answer for a directory too, with a meaningless number.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - urgency: Whether somebody waits for it.
    /// - Returns: The size.
    /// - Throws: `.notFound` if the server says so.
    func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64

    /// Reads bytes of a file into a sink.
    ///
    /// A transfer that breaks is taken up again where it broke, so that the sink gets every byte once, in order.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - range: Offsets in bytes, end exclusive, not empty.
    ///   - sink: Gets at most `range.count` bytes; more than was asked for is an error.
    ///   - urgency: Whether somebody waits for them.
    /// - Returns: The number of bytes delivered: less than `range.count` only where the server says the file ends.
    /// - Throws: `.notFound` if the server says so.
    func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64

    /// Makes a directory.
    ///
    /// - Throws: `.alreadyExists`; `.rejected` if the parent is missing.
    func makeDirectory(_ directory: RemotePath) async throws(RemoteError)

    /// Starts an upload of `size` bytes. Nothing is visible until it is completed.
    func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID

    /// Sends one part, in any order, also side by side with others and again.
    ///
    /// - Parameters:
    ///   - file: The path the upload was started for.
    ///   - upload: The upload.
    ///   - offset: Where the part begins, in bytes from the file's start.
    ///   - body: The part's bytes.
    /// - Throws: `.unreadableBody` if they cannot be had.
    func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError)

    /// Completes an upload: the file appears at once under its name, in place of what was there.
    ///
    /// A lost answer is resolved by asking for the file's size and by asking to complete again. A refusal may follow one
    /// that was lost, and says nothing of it: whoever is refused uploads the file anew.
    ///
    /// - Parameters:
    ///   - file: The path the upload was started for.
    ///   - upload: The upload, all of whose bytes were sent.
    ///   - size: Its size in bytes.
    ///   - previousSize: The size of the file being replaced in bytes, nothing if there is none; `size` where it is not
    ///     known, so that the same size afterwards proves nothing.
    /// - Throws: What keeps the file from being replaced, or us from knowing that it was.
    func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError)

    /// Deletes a file, or an empty directory. The caller has just confirmed the kind from a listing.
    ///
    /// The server deletes whole trees (wire-protocol.md, Delete). After a lost answer the parent is listed
    /// again before the call is repeated: gone is success, and another kind than `kind` is never deleted.
    ///
    /// - Throws: `.notFound` if the name was not there, `.changedKind` if it now names something else.
    func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError)
}

extension RemoteFilesystem {
    /// Lists a directory that somebody waits for; see ``list(_:urgency:)``.
    public func list(_ directory: RemotePath) async throws(RemoteError) -> RemoteListing {
        try await self.list(directory, urgency: .waitedFor)
    }

    /// Asks for a size that somebody waits for; see ``size(of:urgency:)``.
    public func size(of file: RemotePath) async throws(RemoteError) -> UInt64 {
        try await self.size(of: file, urgency: .waitedFor)
    }

    /// Reads bytes that somebody waits for; see ``read(_:_:into:urgency:)``.
    public func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink
    ) async throws(RemoteError) -> UInt64 {
        try await self.read(file, range, into: sink, urgency: .waitedFor)
    }

    /// What the parent's listing, asked for now, says of a name.
    ///
    /// - Parameter path: The name; the root is a directory without being asked for.
    /// - Returns: Nothing if it is not there: a directory that is not there has an empty listing, or none.
    /// - Throws: What keeps the listing from being had.
    public func kind(of path: RemotePath) async throws(RemoteError) -> EntryKind? {
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

/// What a name of a listing stands for.
public enum EntryKind: Sendable, Hashable {
    /// A regular file.
    case file
    /// A directory.
    case directory
}

/// A directory's children as the server lists them.
public struct RemoteListing: Sendable {
    /// The children, each name once, in no particular order.
    public var entries: [(name: FileName, kind: EntryKind)]
    /// How many names the server sent that no directory can hold (with `/` or NUL, over 255 bytes, `..`).
    public var refusedNameCount: Int

    /// Makes a listing.
    public init(entries: [(name: FileName, kind: EntryKind)], refusedNameCount: Int = 0) {
        self.entries = entries
        self.refusedNameCount = refusedNameCount
    }
}

/// What a server offers beyond the bare API, found once per mount and held as one value.
public struct ServerCapabilities: Sendable, Hashable {
    /// The bare API of filesystems-api.txt: no sizes in listings, no rename, no change notices.
    public static let bare = ServerCapabilities()
}
