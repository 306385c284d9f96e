import Transport
import WireFormat

extension RemoteClient: FilesystemsService {
    /// What a list of them may take, in bytes: some 30,000, with the longest names.
    static let filesystemsByteCount = 16 << 20

    /// Those that the key's user owns and those shared with it.
    public func filesystems() async throws(RemoteError) -> [FilesystemBody] {
        var call = RemoteCall(name: "filesystems", method: .get, url: "\(self.endpoint.url)/filesystems")
        call.maximumAnswerByteCount = Self.filesystemsByteCount
        // Not asked again for an answer of another kind: this is a mount's first call, and the endpoint's path is wrong.
        let response = try await self.repeating(call) { $0 }
        return try JSONBody.decode([FilesystemBody].self, response.body)
    }

    /// Creates one.
    ///
    /// - Throws: `.alreadyExists` if the user has one of that name.
    public func createFilesystem(named name: String) async throws(RemoteError) -> FilesystemBody {
        let call = try RemoteCall(
            name: "create filesystem",
            method: .post,
            url: "\(self.endpoint.url)/filesystems",
            json: CreateFilesystemBody(filesystemName: name)
        )
        switch try await self.repeatingOnce(call) {
        case .done(let response?): return try JSONBody.decode(FilesystemBody.self, response.body)
        case .done(nil), .conflictAfterDoubt:
            // An earlier attempt was applied, or there was one before: told apart by nothing but its being the
            // only one of the name.
            let known = try await self.filesystems().filter { $0.filesystemName == name }
            guard let only = known.first, known.count == 1 else { throw .alreadyExists }
            return only
        }
    }

    /// Deletes one with all that is in it.
    public func deleteFilesystem(_ id: FilesystemID) async throws(RemoteError) {
        let call = RemoteCall(
            name: "delete filesystem",
            method: .delete,
            url: "\(self.endpoint.url)/filesystems/\(id)"
        )
        _ = try await self.repeatingOnce(call)
    }

    /// Lets another user use one.
    ///
    /// - Parameters:
    ///   - id: The filesystem.
    ///   - grantee: The other user's id, a UUID.
    /// - Throws: `.alreadyExists` if it was shared already.
    public func shareFilesystem(_ id: FilesystemID, with grantee: String) async throws(RemoteError) {
        let call = try RemoteCall(
            name: "share filesystem",
            method: .post,
            url: "\(self.endpoint.url)/filesystems/\(id)/share",
            json: ShareBody(grantee: grantee)
        )
        _ = try await self.repeatingOnce(call)
    }

    private enum Ending {
        /// The service did it; at this attempt, or (no answer) at one before.
        case done(HTTPResponse?)
        /// It exists, and an attempt of ours may have made it.
        case conflictAfterDoubt
    }

    /// Repeats a call that has no effect when made again, and takes the answers for what they are after a lost one:
    /// "not there" to a deletion and "there already" to the others say that the lost one was applied.
    private func repeatingOnce(_ call: RemoteCall) async throws(RemoteError) -> Ending {
        var mayBeApplied = false
        var attempt = 0
        while true {
            attempt += 1
            switch try await self.attempt(call) {
            case .success(let response): return .done(response)
            case .failure(let failure):
                if mayBeApplied, call.method == .delete, failure.error == .notFound { return .done(nil) }
                if mayBeApplied, failure.error == .alreadyExists { return .conflictAfterDoubt }
                guard failure.isTransient, attempt <= self.retry.retries else {
                    throw self.givingUp(call, failure, attempt)
                }
                mayBeApplied = mayBeApplied || failure.mayHaveActed
                try await self.pause(call, failure, attempt)
            }
        }
    }
}

extension RemoteCall {
    /// A call with a JSON body.
    init(
        name: String,
        method: HTTPRequest.Method,
        url: String,
        json body: some Encodable
    ) throws(RemoteError) {
        self.init(
            name: name,
            method: method,
            url: url,
            headers: [("Content-Type", "application/json")],
            body: .bytes(try JSONBody.encode(body))
        )
    }
}
