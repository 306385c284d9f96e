import RemoteAPI
import Synchronization
import Transport
import WireFormat

/// A service that fails as it is told to, and else does what the one behind it does.
public final class FaultyRemote: RemoteFilesystem {
    private struct Fault {
        let kind: CallKind
        /// Calls of the kind that pass before it strikes, and how often it strikes then.
        var skipped: Int
        var count: Int
        let error: RemoteError
        /// Whether the call is made and only its answer lost.
        let acts: Bool
    }

    private let remote: any RemoteFilesystem
    private let faults = Mutex<[Fault]>([])

    /// Puts itself before a service.
    public init(_ remote: any RemoteFilesystem) { self.remote = remote }

    /// Lets calls of a kind fail without reaching the service.
    ///
    /// - Parameters:
    ///   - kind: Which calls.
    ///   - error: What with.
    ///   - skipping: How many of them pass before.
    ///   - count: How many then fail.
    public func fail(_ kind: CallKind, with error: RemoteError, skipping: Int = 0, count: Int = 1) {
        self.faults.withLock {
            $0.append(Fault(kind: kind, skipped: skipping, count: count, error: error, acts: false))
        }
    }

    /// Lets the answers of calls of a kind be lost after the service acted.
    public func loseAnswer(_ kind: CallKind, with error: RemoteError, skipping: Int = 0, count: Int = 1) {
        self.faults.withLock {
            $0.append(Fault(kind: kind, skipped: skipping, count: count, error: error, acts: true))
        }
    }

    /// Fails no more.
    public func heal() { self.faults.withLock { $0 = [] } }

    /// The bare API.
    public var capabilities: ServerCapabilities { self.remote.capabilities }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func list(
        _ directory: RemotePath,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> RemoteListing {
        try await self.pass(.list) { () async throws(RemoteError) in
            try await self.remote.list(directory, urgency: urgency)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64 {
        try await self.pass(.size) { () async throws(RemoteError) in
            try await self.remote.size(of: file, urgency: urgency)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64 {
        try await self.pass(.read) { () async throws(RemoteError) in
            try await self.remote.read(file, range, into: sink, urgency: urgency)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func makeDirectory(_ directory: RemotePath) async throws(RemoteError) {
        try await self.pass(.makeDirectory) { () async throws(RemoteError) in
            try await self.remote.makeDirectory(directory)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID {
        try await self.pass(.beginUpload) { () async throws(RemoteError) in
            try await self.remote.beginUpload(file, size: size)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError) {
        try await self.pass(.putPart) { () async throws(RemoteError) in
            try await self.remote.putPart(file, upload, at: offset, body: body)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError) {
        try await self.pass(.completeUpload) { () async throws(RemoteError) in
            try await self.remote.completeUpload(file, upload, size: size, previousSize: previousSize)
        }
    }

    /// See ``RemoteFilesystem``; fails as it was told to.
    public func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError) {
        try await self.pass(.delete) { () async throws(RemoteError) in
            try await self.remote.delete(path, kind: kind)
        }
    }

    private func pass<Value: Sendable>(
        _ kind: CallKind,
        _ call: () async throws(RemoteError) -> Value
    ) async throws(RemoteError) -> Value {
        let fault: Fault? = self.faults.withLock { faults in
            guard let index = faults.firstIndex(where: { $0.kind == kind }) else { return nil }
            if faults[index].skipped > 0 {
                faults[index].skipped -= 1
                return nil
            }
            faults[index].count -= 1
            defer { if faults[index].count <= 0 { faults.remove(at: index) } }
            return faults[index]
        }
        guard let fault else { return try await call() }
        if fault.acts { _ = try await call() }
        throw fault.error
    }
}
