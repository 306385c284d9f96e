import Transport
import WireFormat

extension RemoteClientFilesystem {
    /// Lists a directory; see ``RemoteFilesystem/list(_:urgency:)``.
    public func list(
        _ directory: RemotePath,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> RemoteListing {
        var call = RemoteCall(name: "list", method: .get, url: self.url("list", directory))
        // How long it is nobody knows: 30 MB at 100 KB/s have the time. One that stands still is ended as any call.
        call.deadline = self.client.retry.requestTimeout * 10
        // A million names take some tens of MiB.
        call.maximumAnswerByteCount = 256 << 20
        return try await self.client.repeating(call, urgency: urgency) { response throws(RemoteError) in
            try RemoteListing(json: response.body)
        }
    }

    /// Makes a directory; see ``RemoteFilesystem/makeDirectory(_:)``.
    public func makeDirectory(_ directory: RemotePath) async throws(RemoteError) {
        if directory.isRoot { throw .alreadyExists }
        let call = RemoteCall(name: "mkdir", method: .post, url: self.url("mkdir", directory))
        var mayBeApplied = false
        var attempt = 0
        while true {
            attempt += 1
            let failure: CallFailure
            switch try await self.client.attempt(call) {
            case .success: return
            case .failure(let met): failure = met
            }
            mayBeApplied = mayBeApplied || failure.mayHaveActed
            let isLast = !failure.isTransient || attempt > self.client.retry.retries
            if !isLast { try await self.client.pause(call, failure, attempt) }
            // A lost answer: it is a success if the directory is there now.
            if mayBeApplied, try await self.knownKind(of: directory) == .directory { return }
            if isLast { throw self.client.givingUp(call, failure, attempt) }
        }
    }

    /// Deletes a file or an empty directory; see ``RemoteFilesystem/delete(_:kind:)``.
    ///
    /// A directory that is no longer empty when the call is to be repeated counts as changed: the server would
    /// delete the whole tree.
    public func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError) {
        try await self.delete(path, kind: kind, isWholeTree: false)
    }

    /// Deletes a directory with all that is in it, in one call. The caller has just confirmed the kind from a listing.
    ///
    /// - Throws: `.notFound` if the name was not there, `.changedKind` if it now names a file.
    public func deleteTree(_ directory: RemotePath) async throws(RemoteError) {
        try await self.delete(directory, kind: .directory, isWholeTree: true)
    }

    private func delete(
        _ path: RemotePath,
        kind: EntryKind,
        isWholeTree: Bool
    ) async throws(RemoteError) {
        // The root's URL would name everything.
        if path.isRoot { throw .forbidden }
        let call = RemoteCall(name: "delete", method: .delete, url: self.url("files", path))
        var mayBeApplied = false
        var attempt = 0
        while true {
            attempt += 1
            let failure: CallFailure
            switch try await self.client.attempt(call) {
            case .success: return
            case .failure(let met): failure = met
            }
            if mayBeApplied, failure.status == 404 || failure.status == 400 { return }
            mayBeApplied = mayBeApplied || failure.mayHaveActed
            let isLast = !failure.isTransient || attempt > self.client.retry.retries
            if !isLast { try await self.client.pause(call, failure, attempt) }
            // wire-protocol.md, Delete: 400 means "neither file nor directory"; the listing says whether it does.
            if !isLast || mayBeApplied || failure.status == 400 {
                switch try await self.checkedKind(of: path, after: failure) {
                case nil where mayBeApplied: return
                case nil: throw .notFound
                case kind?: break
                case _?: throw isLast && !mayBeApplied ? failure.error : .changedKind
                }
            }
            if isLast { throw self.client.givingUp(call, failure, attempt) }
            if kind == .directory, !isWholeTree { try await self.confirmEmpty(path, after: failure) }
        }
    }

    /// The kind of a name, as its parent's listing now has it; a listing that fails tells nothing.
    private func knownKind(of path: RemotePath) async throws(RemoteError) -> EntryKind? {
        do {
            return try await self.kind(of: path)
        } catch {
            if error == .cancelled { throw error }
            return nil
        }
    }

    /// The kind of a name, or nothing if it is certainly not there.
    ///
    /// - Throws: The failure that made us ask, if the answer cannot be had.
    private func checkedKind(
        of path: RemotePath,
        after failure: CallFailure
    ) async throws(RemoteError) -> EntryKind? {
        do {
            return try await self.kind(of: path)
        } catch {
            throw error == .cancelled ? error : failure.error
        }
    }

    private func confirmEmpty(_ path: RemotePath, after failure: CallFailure) async throws(RemoteError) {
        let listing: RemoteListing
        do {
            listing = try await self.list(path)
        } catch {
            throw error == .cancelled ? error : failure.error
        }
        if !listing.entries.isEmpty || listing.refusedNameCount > 0 { throw .changedKind }
    }
}
