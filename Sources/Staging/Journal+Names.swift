import SystemPackage
import WireFormat

/// What is queued and read by path: uploads and renames under way, attributes, and values by key.
extension Journal {
    /// All paths at or below one now begin with another; to be called once the namespace has them there. What is
    /// remembered of a path that is taken goes.
    public func move(from source: RemotePath, to target: RemotePath) {
        self.queue(.move(from: source, to: target))
    }

    /// An upload to a path was begun by this mount; with ``removeUpload(_:)`` it is over.
    public func addUpload(_ upload: UploadID, at path: RemotePath) { self.queue(.addUpload(upload, path)) }

    /// Nothing is left of an upload on the service but what it became.
    public func removeUpload(_ upload: UploadID) { self.queue(.removeUpload(upload)) }

    /// Begins a rename that is done in steps.
    ///
    /// - Returns: Its number.
    public func addMove(_ kind: Move.Kind, from source: RemotePath, to target: RemotePath) -> Int64 {
        let id = self.work.withLock { state in
            defer { state.nextMove += 1 }
            return state.nextMove
        }
        let move = Move(id: id, source: source, target: target, kind: kind, stage: .copying, copied: [:])
        self.queue(.addMove(move))
        return id
    }

    /// Notes how far a rename is.
    public func advanceMove(_ id: Int64, to stage: Move.Stage) { self.queue(.advanceMove(id, stage)) }

    /// Notes that something is under a rename's new path.
    ///
    /// - Parameters:
    ///   - path: Where it is now.
    ///   - size: Its size in bytes; nothing for a directory.
    ///   - id: The rename.
    public func noteCopied(_ path: RemotePath, size: UInt64?, in id: Int64) {
        self.queue(.copied(id, path, size))
    }

    /// What is under a rename's new path may not be what is to be there: no later mount takes it for that.
    ///
    /// - Parameters:
    ///   - path: Where it is.
    ///   - id: The rename.
    public func forgetCopied(_ path: RemotePath, in id: Int64) { self.queue(.notCopied(id, path)) }

    /// A rename is done, or given up.
    public func finishMove(_ id: Int64) { self.queue(.finishMove(id)) }

    /// The renames that are not done, in the order in which they began.
    ///
    /// - Throws: Why they cannot be read.
    public func moves() async throws(Errno) -> [Move] { try await self.read { try $0.moves() } }

    /// Remembers attributes.
    public func putAttributes(_ attributes: StoredAttributes, of path: RemotePath) {
        self.storedAttributes.store(true, ordering: .relaxed)
        self.queue(.attributes(path, attributes))
    }

    /// Forgets the attributes at and below a path.
    public func removeAttributes(of path: RemotePath) {
        guard self.storedAttributes.load(ordering: .relaxed) else { return }
        self.queue(.removeAttributes(path))
    }

    /// What is remembered of the children of a directory.
    ///
    /// - Throws: Why it cannot be read.
    public func attributes(in directory: RemotePath) async throws(Errno) -> [FileName: StoredAttributes] {
        guard self.storedAttributes.load(ordering: .relaxed) else { return [:] }
        return try await self.read { try $0.attributes(in: directory) }
    }

    /// What is remembered of a path.
    ///
    /// - Throws: Why it cannot be read.
    public func attributes(of path: RemotePath) async throws(Errno) -> StoredAttributes? {
        guard self.storedAttributes.load(ordering: .relaxed) else { return nil }
        return try await self.read { try $0.attributes(of: path) }
    }

    /// A value remembered under a key; nothing if there is none.
    ///
    /// - Throws: Why it cannot be read.
    public func meta(_ key: String) async throws(Errno) -> String? {
        try await self.read { try $0.meta(key) }
    }

    /// Remembers a value under a key.
    public func setMeta(_ key: String, to value: String) { self.queue(.setMeta(key, value)) }
}
