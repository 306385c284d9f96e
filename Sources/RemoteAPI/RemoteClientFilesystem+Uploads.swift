import Transport
import WireFormat

extension RemoteClientFilesystem {
    /// Starts an upload; see ``RemoteFilesystem/beginUpload(_:size:)``.
    ///
    /// - Throws: `.rejected` with the status 500 where the server does not take an empty file.
    public func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID {
        let call = try RemoteCall(
            name: "begin upload",
            method: .post,
            url: self.url("files", file),
            json: UploadRequestBody.begin(size: size)
        )
        if size == 0 { return try await self.beginEmpty(file, call) }
        return try await self.client.repeating(call, reading: self.upload)
    }

    /// Reads the answer to the start of an upload.
    func upload(_ response: HTTPResponse) throws(RemoteError) -> UploadID {
        let started = try JSONBody.decode(UploadStartedBody.self, response.body)
        guard let upload = UploadID(started.uploadID) else {
            throw .malformedAnswer("the server's upload id cannot be sent back")
        }
        return upload
    }

    /// Sends one part; see ``RemoteFilesystem/putPart(_:_:at:body:)``.
    public func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError) {
        let count = body.count
        let call = RemoteCall(
            name: "put part",
            method: .put,
            url: self.url("files", file),
            headers: [("Content-Range", ContentRange.part(offset..<offset + count, of: upload))],
            body: .reader(body),
            deadline: self.client.retry.deadline(transferring: count),
            sharesConnection: false
        )
        try await self.client.repeating(call) { _ in }
    }

    /// Completes an upload; see ``RemoteFilesystem/completeUpload(_:_:size:previousSize:)``.
    ///
    /// Where the old file has the new one's size, the size proves nothing, and neither does a refusal after a lost
    /// answer: the server may have completed the upload, or have gone down and forgotten all or a part of it. Then this
    /// fails, and a new upload is due. After a success that followed a doubtful answer the size is looked at once.
    public func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError) {
        let call = try self.completion(file, upload, size: size)
        var mayBeApplied = false
        var attempt = 0
        while true {
            attempt += 1
            let failure: CallFailure
            switch try await self.client.attempt(call) {
            case .success:
                // After an answer that left it open this one may be about an upload that was completed before.
                guard mayBeApplied, let shown = try await self.knownSize(of: file), shown != size else {
                    return
                }
                throw Self.otherSize
            case .failure(let met): failure = met
            }
            mayBeApplied = mayBeApplied || failure.mayHaveActed
            if mayBeApplied, previousSize != size, try await self.knownSize(of: file) == size { return }
            if size == 0, !mayBeApplied, self.client.takesEmptyFiles == false, failure.isRefusal {
                throw Self.emptyFileRefusal
            }
            guard failure.isTransient, attempt <= self.client.retry.retries else {
                throw self.client.givingUp(call, failure, attempt)
            }
            try await self.client.pause(call, failure, attempt)
        }
    }

    private static let otherSize = RemoteError.unavailable(
        "the server completed the upload after it had left that open, and shows the file with another size"
    )

    private func completion(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64
    ) throws(RemoteError) -> RemoteCall {
        var call = try RemoteCall(
            name: "complete upload",
            method: .post,
            url: self.url("files", file),
            json: UploadRequestBody.finish(uploadID: upload.rawValue, complete: true)
        )
        // A server may have to put the parts together and on disk before it answers: 64 MiB a second are little.
        let limit = self.client.retry.requestTimeout + .seconds(Double(size) / Double(64 << 20))
        call.deadline = limit
        call.stallLimit = limit
        return call
    }

    /// The file's size as it is now; nothing if it is not there, or cannot be had.
    private func knownSize(of file: RemotePath) async throws(RemoteError) -> UInt64? {
        do {
            return try await self.size(of: file)
        } catch {
            if error == .cancelled { throw error }
            return nil
        }
    }
}
