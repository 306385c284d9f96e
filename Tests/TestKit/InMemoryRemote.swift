import RemoteAPI
import Synchronization
import Transport
import WireFormat

/// The kinds of calls, as tests count and hold them.
public enum CallKind: Hashable, Sendable, CaseIterable {
    case list, size, read, makeDirectory, beginUpload, putPart, completeUpload, delete
}

/// The service as a tree in memory: acts at once, writes every call down, and can hold calls.
public final class InMemoryRemote: RemoteFilesystem {
    /// Which of the two behaviours that exist in the world it has (wire-protocol.md).
    public enum Behaviour: Sendable, CaseIterable {
        /// What `tetherfs-server` does.
        case strict
        /// What the deployed service does: empty listings of what is no directory, sizes of directories, uploads
        /// under way in listings, no upload of size 0.
        case deployed
    }

    /// When a call is held.
    public enum Moment: Sendable {
        /// Before it acts or reads anything.
        case beforeActing
        /// When its answer is ready.
        case beforeAnswering
    }

    struct Upload {
        let path: RemotePath
        let size: UInt64
        var parts: [Range<UInt64>] = []
        var bytes: [UInt8]
    }

    struct State {
        var files: [RemotePath: [UInt8]] = [:]
        var directories: Set<RemotePath> = [.root]
        var refusedNames: [RemotePath: Int] = [:]
        /// Directories with so many empty files `file-0`, `file-1`…, which are not among `files`.
        var wideDirectories: [RemotePath: Int] = [:]
        var uploads: [UploadID: Upload] = [:]
        var uploadCount = 0
        var calls: [String] = []
        var urgencies: [String: RequestUrgency] = [:]
        var counts: [CallKind: Int] = [:]
        var readByteCount = 0
        var inFlight: [CallKind: Int] = [:]
        var inFlightMaximum: [CallKind: Int] = [:]
        var previousSizes: [UInt64?] = []
        /// How many bytes the next read lacks at its end.
        var nextReadLacks = 0
        var holds: [(kind: CallKind, moment: Moment, hold: Hold)] = []
    }

    let state = Mutex(State())
    /// Which of the two it has.
    public let behaviour: Behaviour
    private let ended: [CallKind: Tally]

    /// Makes a service with an empty filesystem.
    public init(_ behaviour: Behaviour = .strict) {
        self.behaviour = behaviour
        self.ended = Dictionary(uniqueKeysWithValues: CallKind.allCases.map { ($0, Tally()) })
    }

    /// The bare API.
    public var capabilities: ServerCapabilities { .bare }

    /// Waits until so many calls of a kind have ended since the start.
    public func ended(_ kind: CallKind, _ count: Int = 1) async { await self.ended[kind]?.reached(count) }

    /// Holds the calls of a kind from now on, until the hold is released.
    public func hold(_ kind: CallKind, _ moment: Moment = .beforeActing) -> Hold {
        let hold = Hold()
        self.state.withLock { $0.holds.append((kind, moment, hold)) }
        return hold
    }

    /// Lists a directory.
    public func list(
        _ directory: RemotePath,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> RemoteListing {
        try await self.call(.list, "list \(directory)", urgency) { state throws(RemoteError) in
            guard state.directories.contains(directory) else {
                guard self.behaviour == .deployed else { throw .notFound }
                return RemoteListing(entries: [])
            }
            var entries: [(name: FileName, kind: EntryKind)] = []
            for child in state.directories where !child.isRoot && child.parent == directory {
                if let name = child.name { entries.append((name, .directory)) }
            }
            for child in state.files.keys where child.parent == directory {
                if let name = child.name { entries.append((name, .file)) }
            }
            for index in 0..<state.wideDirectories[directory, default: 0] {
                if let name = FileName("file-\(index)") { entries.append((name, .file)) }
            }
            if self.behaviour == .deployed {
                for (id, upload) in state.uploads where upload.path.parent == directory {
                    guard let name = upload.path.name, let staging = FileName("\(name).\(id)") else {
                        continue
                    }
                    entries.append((staging, .file))
                }
            }
            return RemoteListing(
                entries: entries,
                refusedNameCount: state.refusedNames[directory, default: 0]
            )
        }
    }

    /// Answers a file's size.
    public func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64 {
        try await self.call(.size, "size \(file)", urgency) { state throws(RemoteError) in
            if let bytes = state.files[file] { return UInt64(bytes.count) }
            if state.wideDirectories[file.parent] != nil, file.name?.string.hasPrefix("file-") == true {
                return 0
            }
            guard self.behaviour == .deployed else { throw .notFound }
            if let upload = state.upload(listedAs: file) { return state.uploads[upload]?.size ?? 0 }
            guard state.directories.contains(file) else { throw .notFound }
            return 4096
        }
    }

    /// Reads a range into the sink.
    public func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64 {
        let text = "read \(file) \(range.lowerBound)-\(range.upperBound)"
        let part = try await self.call(.read, text, urgency) { state throws(RemoteError) in
            guard let bytes = state.files[file] else { throw .notFound }
            let whole = bytes[Range(range.clamped(to: 0..<UInt64(bytes.count)))]
            let part = whole.dropLast(state.nextReadLacks)
            state.nextReadLacks = 0
            state.readByteCount += part.count
            return part
        }
        // In pieces that divide no block, as from a network.
        var rest = part
        while !rest.isEmpty {
            let piece = rest.prefix(40_009)
            guard piece.withUnsafeBytes({ sink.receive($0) }) else { throw .cancelled }
            rest = rest.dropFirst(piece.count)
        }
        return UInt64(part.count)
    }

    /// Makes a directory, whose parent must be there.
    public func makeDirectory(_ directory: RemotePath) async throws(RemoteError) {
        try await self.call(.makeDirectory, "mkdir \(directory)") { state throws(RemoteError) in
            guard !state.directories.contains(directory), state.files[directory] == nil else {
                throw .alreadyExists
            }
            guard state.directories.contains(directory.parent) else {
                throw .rejected(status: 400, message: "no such parent directory")
            }
            state.directories.insert(directory)
        }
    }

    /// Begins an upload.
    public func beginUpload(_ file: RemotePath, size: UInt64) async throws(RemoteError) -> UploadID {
        try await self.call(.beginUpload, "begin \(file) \(size)") { state throws(RemoteError) in
            guard size > 0 || self.behaviour == .strict else {
                throw .rejected(status: 500, message: "this server refuses to take an empty file")
            }
            guard state.directories.contains(file.parent) else {
                throw .rejected(status: 400, message: "no such parent directory")
            }
            state.uploadCount += 1
            let number = String(state.uploadCount)
            let id = uploadID(String(repeating: "U", count: 20 - number.count) + number)
            state.uploads[id] = Upload(
                path: file,
                size: size,
                bytes: [UInt8](repeating: 0, count: Int(size))
            )
            return id
        }
    }

    /// Takes a part.
    public func putPart(
        _ file: RemotePath,
        _ upload: UploadID,
        at offset: UInt64,
        body: any BodyReader
    ) async throws(RemoteError) {
        let range = offset..<offset + body.count
        let text = "put \(file) \(range.lowerBound)-\(range.upperBound)"
        let read = Mutex<[UInt8]?>(nil)
        let readBody = { @Sendable () async in
            let bytes = await body.readAll()
            read.withLock { $0 = bytes }
        }
        try await self.call(.putPart, text, preparing: readBody) { state throws(RemoteError) in
            guard let bytes = read.withLock({ $0 }) else { throw .unreadableBody }
            guard let known = state.uploads[upload], known.path == file else { throw .notFound }
            guard range.upperBound <= known.size else {
                throw .rejected(status: 400, message: "outside of the declared size")
            }
            state.uploads[upload]?.bytes.replaceSubrange(Range(range), with: bytes)
            state.uploads[upload]?.parts.append(range)
        }
    }

    /// Lets the file appear.
    public func completeUpload(
        _ file: RemotePath,
        _ upload: UploadID,
        size: UInt64,
        previousSize: UInt64?
    ) async throws(RemoteError) {
        try await self.call(.completeUpload, "complete \(file)") { state throws(RemoteError) in
            state.previousSizes.append(previousSize)
            guard let known = state.uploads[upload], known.path == file else { throw .notFound }
            var end: UInt64 = 0
            for part in known.parts.sorted(by: { $0.lowerBound < $1.lowerBound }) where part.lowerBound <= end
            {
                end = max(end, part.upperBound)
            }
            guard end == known.size, size == known.size, !state.directories.contains(file) else {
                throw .rejected(status: 400, message: "not every byte has arrived")
            }
            state.files[file] = known.bytes
            state.uploads[upload] = nil
            // It takes the place of what was listed there.
            if self.behaviour == .deployed, let other = state.upload(listedAs: file) {
                state.uploads[other] = nil
            }
        }
    }

    /// Deletes as the service does: whatever has that name, a directory with its whole tree.
    public func delete(_ path: RemotePath, kind: EntryKind) async throws(RemoteError) {
        try await self.call(.delete, "delete \(path)") { state throws(RemoteError) in
            if self.behaviour == .deployed, let upload = state.upload(listedAs: path) {
                state.uploads[upload] = nil
                return
            }
            guard state.files[path] != nil || state.directories.contains(path) else { throw .notFound }
            state.remove(path)
        }
    }

    /// Writes a call down, holds it where it is to be held, and acts.
    private func call<Value: Sendable>(
        _ kind: CallKind,
        _ text: String,
        _ urgency: RequestUrgency = .waitedFor,
        preparing prepare: @Sendable () async -> Void = {},
        _ act: @Sendable (inout State) throws(RemoteError) -> Value
    ) async throws(RemoteError) -> Value {
        let holds = self.state.withLock { state in
            state.calls.append(text)
            state.urgencies[text] = urgency
            state.counts[kind, default: 0] += 1
            state.inFlight[kind, default: 0] += 1
            let count = state.inFlight[kind, default: 0]
            state.inFlightMaximum[kind] = max(count, state.inFlightMaximum[kind, default: 0])
            return state.holds.filter { $0.kind == kind }
        }
        defer {
            self.state.withLock { $0.inFlight[kind, default: 0] -= 1 }
            self.ended[kind]?.add()
        }
        for held in holds where held.moment == .beforeActing {
            guard await held.hold.pass() else { throw .cancelled }
        }
        await prepare()
        if Task.isCancelled { throw .cancelled }
        let value = try self.state.withLock { state throws(RemoteError) in try act(&state) }
        for held in holds where held.moment == .beforeAnswering {
            guard await held.hold.pass() else { throw .cancelled }
        }
        return value
    }
}

extension InMemoryRemote.State {
    /// The upload that the deployed service lists under a path.
    func upload(listedAs path: RemotePath) -> UploadID? {
        self.uploads.first { "\($1.path).\($0)" == path.description }?.key
    }

    mutating func remove(_ path: RemotePath) {
        let isBelow: (RemotePath) -> Bool = { other in
            other == path || other.components.starts(with: path.components)
        }
        self.files = self.files.filter { !isBelow($0.key) }
        self.directories = self.directories.filter { !isBelow($0) }
        self.refusedNames = self.refusedNames.filter { !isBelow($0.key) }
    }
}
