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

/// Uploads a whole file: begin, parts side by side, complete.
public enum MultipartUpload {
    /// Uploads a file; it appears under its name at the end, whole, or not at all.
    ///
    /// After a failure nothing more is sent: what `complete: false` does is not said anywhere (wire-protocol.md, Upload
    /// 3), and servers clear away what was not completed.
    ///
    /// - Parameters:
    ///   - file: Where to.
    ///   - size: The file's size in bytes.
    ///   - previousSize: The size of the file being replaced, if one is known to be there, in bytes.
    ///   - remote: The service.
    ///   - concurrency: How many parts are on their way at once, at most.
    ///   - plan: The parts, unless they are to be planned here.
    ///   - onBegin: Told the upload's id before the first part, such as to write it down.
    ///   - part: Gives the bytes of a range, which must be as many as the range has; called once for each part, a few
    ///     at a time, in order. What it gives is let go when the part is sent.
    ///   - beforeComplete: Called when all parts have arrived: the last moment to stop it, by throwing.
    /// - Throws: The first failure; what it led to elsewhere is not told.
    public static func run<Failure: Error>(
        to file: RemotePath,
        size: UInt64,
        previousSize: UInt64?,
        remote: any RemoteFilesystem,
        concurrency: Int = 4,
        plan: PartPlan? = nil,
        onBegin: @Sendable (UploadID) async throws(Failure) -> Void,
        part: @escaping @Sendable (Range<UInt64>) async throws(Failure) -> any BodyReader,
        beforeComplete: @Sendable () async throws(Failure) -> Void
    ) async throws(UploadError<Failure>) {
        let upload: UploadID
        do {
            upload = try await remote.beginUpload(file, size: size)
        } catch {
            throw .remote(error)
        }
        try await Self.local { () async throws(Failure) in try await onBegin(upload) }
        try await Self.sendParts(
            plan ?? PartPlan(size: size),
            at: max(1, concurrency)
        ) { (range) async throws(UploadError<Failure>) in
            try await Self.send(range, of: upload, to: file, remote, part)
        }
        try await Self.local(beforeComplete)
        do {
            try await remote.completeUpload(file, upload, size: size, previousSize: previousSize)
        } catch {
            throw .remote(error)
        }
    }

    /// Does the caller's own part, whose failure is told as such.
    private static func local<Failure: Error, Value>(
        _ body: () async throws(Failure) -> Value
    ) async throws(UploadError<Failure>) -> Value {
        if Task.isCancelled { throw .remote(.cancelled) }
        do {
            return try await body()
        } catch {
            throw .local(error)
        }
    }

    private static func send<Failure: Error>(
        _ range: Range<UInt64>,
        of upload: UploadID,
        to file: RemotePath,
        _ remote: any RemoteFilesystem,
        _ part: @Sendable (Range<UInt64>) async throws(Failure) -> any BodyReader
    ) async throws(UploadError<Failure>) {
        let body = try await Self.local { () async throws(Failure) in try await part(range) }
        // Another length would end up as another file than the caller has.
        guard body.count == UInt64(range.count) else { throw .remote(.unreadableBody) }
        do {
            try await remote.putPart(file, upload, at: range.lowerBound, body: body)
        } catch {
            throw .remote(error)
        }
    }

    /// Sends all parts, so many at once; the first failure stops the others.
    private static func sendParts<Failure: Error>(
        _ plan: PartPlan,
        at concurrency: Int,
        _ send: @escaping @Sendable (Range<UInt64>) async throws(UploadError<Failure>) -> Void
    ) async throws(UploadError<Failure>) {
        let failure = await withTaskGroup(of: UploadError<Failure>?.self) { group in
            var first: UploadError<Failure>?
            var next = plan.makeIterator()
            func startNext() {
                guard first == nil, let range = next.next() else { return }
                group.addTask {
                    do throws(UploadError<Failure>) {
                        try await send(range)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for _ in 0..<concurrency { startNext() }
            while let ended = await group.next() {
                if let error = ended, first == nil {
                    first = error
                    group.cancelAll()
                }
                startNext()
            }
            return first
        }
        if let failure { throw failure }
    }
}
