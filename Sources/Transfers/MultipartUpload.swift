import Primitives
import RemoteAPI
import Transport
import WireFormat

/// What an upload failed with.
public enum UploadError<Failure: Error>: Error {
    /// The service failed, or the task was cancelled (`.cancelled`).
    case remote(RemoteError)
    /// The caller's own part of it failed: a closure threw.
    case local(Failure)
}

extension UploadError: Equatable where Failure: Equatable {}

/// An upload that was begun before, of the same bytes.
public struct EarlierUpload: Sendable, Hashable {
    /// The server's name for it.
    public var id: UploadID
    /// The length of its parts in bytes, but for the last one.
    public var partSize: UInt64
    /// Which parts have arrived, counted from 0.
    public var sentParts: Set<Int>

    /// Makes one.
    public init(id: UploadID, partSize: UInt64, sentParts: Set<Int>) {
        self.id = id
        self.partSize = partSize
        self.sentParts = sentParts
    }
}

/// What an upload asks and tells of whoever wants it.
public protocol UploadSource<Failure>: Sendable {
    /// What it fails with.
    associatedtype Failure: Error

    /// Told the upload's id before a part of it is sent, such as to write it down; also where an earlier one goes on.
    /// Told a second time if the server refuses that one, so that nothing of it counts.
    func didBegin(_ upload: EarlierUpload) async throws(Failure)

    /// Told that the service refuses the upload that was begun, so that another one begins.
    func willBeginAnew()

    /// Told that the task was cancelled while an upload began: nothing is sent of it, and ``didBegin(_:)`` is not called.
    ///
    /// - Parameter beginning: Its id once the service has answered; nothing if it did not begin.
    func didAbandon(_ beginning: Task<UploadID?, Never>)

    /// Gives the bytes of a range, which must be as many as the range has; called once for each part of an upload, a few
    /// at a time.
    /// What it gives is let go when the part is sent.
    func body(of range: Range<UInt64>) async throws(Failure) -> any BodyReader

    /// Whether a part is on its way, or has arrived, in another manner: asked before it is sent, and waited for.
    func wasSent(_ part: Int, of upload: UploadID) async -> Bool

    /// Told of a part that has arrived.
    func didSend(_ part: Int, of upload: UploadID)

    /// Called when all parts have arrived: the last moment to stop it, by throwing.
    func willComplete(_ upload: UploadID) async throws(Failure)
}

/// Uploads a whole file: begin, parts side by side, complete.
public struct MultipartUpload<Source: UploadSource>: Sendable {
    private let file: RemotePath
    private let size: UInt64
    private let previousSize: UInt64?
    private let remote: any RemoteFilesystem
    private let lanes: UploadLanes
    private let source: Source

    /// Takes what is to be uploaded.
    ///
    /// - Parameters:
    ///   - file: Where to.
    ///   - size: The file's size in bytes.
    ///   - previousSize: The size of the file being replaced, if one is known to be there, in bytes.
    ///   - remote: The service.
    ///   - lanes: What it shares with all other uploads.
    ///   - source: Whose it is.
    public init(
        to file: RemotePath,
        size: UInt64,
        previousSize: UInt64?,
        remote: any RemoteFilesystem,
        lanes: UploadLanes,
        source: Source
    ) {
        self.file = file
        self.size = size
        self.previousSize = previousSize
        self.remote = remote
        self.lanes = lanes
        self.source = source
    }

    /// Uploads the file; it appears under its name at the end, whole, or not at all.
    ///
    /// After a failure nothing more is sent: what `complete: false` does is not said anywhere (wire-protocol.md, Upload
    /// 3), and servers clear away what was not completed.
    ///
    /// An upload that the service refuses once it was begun is begun anew, once, with all of its parts: the server has
    /// gone down meanwhile, or has completed it and the answer was lost. Only another one brings the bytes there for sure.
    ///
    /// - Parameter earlier: An upload to go on with.
    /// - Throws: The first failure; what it led to elsewhere is not told.
    public func run(continuing earlier: EarlierUpload? = nil) async throws(UploadError<Source.Failure>) {
        let first: EarlierUpload
        if let earlier, earlier.partSize > 0 { first = earlier } else { first = try await self.begin() }
        do throws(UploadError<Source.Failure>) {
            return try await self.send(first)
        } catch {
            guard case .remote(let failure) = error, failure.refusesUpload else { throw error }
            self.source.willBeginAnew()
        }
        try await self.send(try await self.begin())
    }

    /// In a task of its own: cut off, it might have begun on the service, with an id that nobody knows.
    private func begin() async throws(UploadError<Source.Failure>) -> EarlierUpload {
        if Task.isCancelled { throw .remote(.cancelled) }
        let plan = self.lanes.plan(size: self.size)
        let answer = OneShot<Result<UploadID, RemoteError>>()
        let beginning = Task { [remote, file, size, lanes] () -> UploadID? in
            let begin = ContinuousClock.now
            do throws(RemoteError) {
                let upload = try await remote.beginUpload(file, size: size)
                lanes.noteRoundTrip(.now - begin)
                answer.resolve(.success(upload))
                return upload
            } catch {
                answer.resolve(.failure(error))
                return nil
            }
        }
        switch await answer.wait() {
        case .success(let upload)?:
            return EarlierUpload(id: upload, partSize: plan.partSize, sentParts: [])
        case .failure(let error)?:
            throw .remote(error)
        case nil:
            self.source.didAbandon(beginning)
            throw .remote(.cancelled)
        }
    }

    /// Sends what an upload lacks, and completes it.
    private func send(_ upload: EarlierUpload) async throws(UploadError<Source.Failure>) {
        // Also if the task was cancelled: the id must not be lost.
        do throws(Source.Failure) { try await self.source.didBegin(upload) } catch { throw .local(error) }
        try await self.sendParts(of: upload)
        try await self.local { source throws(Source.Failure) in try await source.willComplete(upload.id) }
        do {
            try await self.remote.completeUpload(
                self.file,
                upload.id,
                size: self.size,
                previousSize: self.previousSize
            )
        } catch {
            throw .remote(error)
        }
    }

    /// Does the caller's own part, whose failure is told as such.
    private func local<Value>(
        _ body: (Source) async throws(Source.Failure) -> Value
    ) async throws(UploadError<Source.Failure>) -> Value {
        if Task.isCancelled { throw .remote(.cancelled) }
        do {
            return try await body(self.source)
        } catch {
            throw .local(error)
        }
    }

    /// Sends the parts that are missing, as many at once as there are lanes; the first failure stops the others.
    private func sendParts(of upload: EarlierUpload) async throws(UploadError<Source.Failure>) {
        let plan = PartPlan(size: self.size, partSize: upload.partSize)
        let missing = plan.indices.filter { !upload.sentParts.contains($0) }
        let place = self.lanes.makeUpload()
        try await PartCrew(missing, workerCount: self.lanes.maximumCount).run {
            (part) async throws(UploadError<Source.Failure>) in
            try await self.send(part, plan[part], of: upload.id, place)
        }
    }

    private func send(
        _ part: Int,
        _ range: Range<UInt64>,
        of upload: UploadID,
        _ place: UploadLanes.Upload
    ) async throws(UploadError<Source.Failure>) {
        if await self.source.wasSent(part, of: upload) { return }
        let isSent: Void? = try await self.lanes.send(place, range.count) {
            () async throws(UploadError<Source.Failure>) in
            let body = try await self.local { source throws(Source.Failure) in
                try await source.body(of: range)
            }
            // Another length would end up as another file than the caller has.
            guard body.count == UInt64(range.count) else { throw .remote(.unreadableBody) }
            let waits = body.waitsForRequests
            if waits {
                do { try await self.lanes.waitingBodies.acquire() } catch { throw .remote(.cancelled) }
            }
            defer { if waits { self.lanes.waitingBodies.release() } }
            do throws(RemoteError) {
                try await self.remote.putPart(self.file, upload, at: range.lowerBound, body: body)
            } catch {
                throw .remote(error)
            }
        }
        guard isSent != nil else { throw .remote(.cancelled) }
        self.source.didSend(part, of: upload)
    }
}

extension RemoteError {
    /// Whether the service understood a call, and says that there is no such upload, or none like it.
    fileprivate var refusesUpload: Bool {
        switch self {
        case .notFound, .alreadyExists: true
        case .rejected(let status, _): (400..<500).contains(status)
        default: false
        }
    }
}
