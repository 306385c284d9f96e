import BlockCaching
import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import SystemPackage
import Transfers
import WireFormat

/// A flush from its start to its end: the bytes of a content, wherever they are, become a file on the service.
struct Uploader: Sendable {
    let remote: any RemoteFilesystem
    let namespace: Namespace
    let cache: BlockCache
    let journal: Journal
    let logger: Logger
    /// What all uploads share.
    let lanes: UploadLanes
    /// Those that are not over.
    let begun = BegunUploads()

    /// Takes what an upload needs.
    init(
        remote: any RemoteFilesystem,
        namespace: Namespace,
        cache: BlockCache,
        journal: Journal,
        lanes: UploadLanes,
        logger: Logger
    ) {
        self.remote = remote
        self.namespace = namespace
        self.cache = cache
        self.journal = journal
        self.lanes = lanes
        self.logger = logger
    }

    /// The bytes to upload: what was written here over the version on the service.
    struct Source: Sendable {
        let staged: StagedFile?
        let base: BlockSource?
        let size: UInt64
    }

    /// Uploads a file under a path; it appears whole, or not at all.
    ///
    /// - Parameters:
    ///   - source: The bytes.
    ///   - path: Where to.
    ///   - parent: The directory it goes to, whose listing may show the upload under way.
    ///   - previousSize: The size of the file being replaced, if one is known to be there, in bytes.
    ///   - early: What was sent of exactly these bytes while they were written.
    ///   - recorder: Writes down how far it is.
    ///   - beforeComplete: Called when all bytes have arrived, before the file changes; what it throws stops the upload.
    ///   - beforeSendingAgain: Called when the service refused to make it the file, perhaps as it had done so and its answer
    ///     was lost, and all is sent once more.
    ///   - isCurrent: Asked when all bytes have arrived; `false` stops the upload before the file changes.
    /// - Returns: Whether the file is there: `false` if `isCurrent` said so, and then nothing was changed unless
    ///   `beforeSendingAgain` was called.
    /// - Throws: Why it is not, or not for certain.
    func upload(
        _ source: Source,
        to path: RemotePath,
        in parent: InodeNumber,
        previousSize: UInt64?,
        early: EarlyUpload? = nil,
        recorder: (any UploadRecorder)? = nil,
        beforeComplete: @escaping @Sendable () async throws(FileSystemError) -> Void = {},
        beforeSendingAgain: @escaping @Sendable () -> Void = {},
        isCurrent: @escaping @Sendable () -> Bool
    ) async throws(FileSystemError) -> Bool {
        let course = UploadCourse(
            source,
            uploader: self,
            place: (path, parent),
            early: early,
            recorder: recorder,
            beforeComplete: beforeComplete,
            beforeSendingAgain: beforeSendingAgain,
            isCurrent: isCurrent
        )
        defer { course.end() }
        let upload = MultipartUpload(
            to: path,
            size: source.size,
            previousSize: previousSize,
            remote: self.remote,
            lanes: self.lanes,
            source: course
        )
        do throws(UploadError<UploadCourse.Failure>) {
            let earlier = await early?.begun() ?? recorder?.earlier
            let mayBeUnknown = { earlier != nil && recorder?.isFruitless == true }
            do throws(UploadError<UploadCourse.Failure>) {
                try await upload.run(continuing: earlier)
            } catch .remote(.unavailable) where mayBeUnknown(), .remote(.failed) where mayBeUnknown() {
                // wire-protocol.md does not say what an id is answered with that the server does not know. While it
                // cannot be reached, no new one can be begun either, and the earlier one stays.
                try await upload.run()
            }
        } catch {
            switch error {
            case .local(.outrun): return false
            case .local(.failed(let error)): throw error
            case .remote(.cancelled): throw .interrupted
            // Cut short by a writer while its bytes were being sent.
            case .remote(.unreadableBody) where !isCurrent(): return false
            case .remote(.unreadableBody): throw course.bodyFailure ?? .remote(.unreadableBody)
            case .remote(.notFound):
                // Not about the file's name: its upload is unknown, or its directory went.
                throw .remote(.rejected(status: 404, message: "the server no longer knows the upload"))
            case .remote(let error): throw .remote(error)
            }
        }
        course.didComplete()
        return true
    }

    /// An upload was begun, or goes on: where the service lists it, that is hidden, and a later mount knows that it is
    /// ours. Who sends it leaves it to ``begun`` in the end.
    func didBegin(_ upload: UploadID, at path: RemotePath, in parent: InodeNumber) {
        self.journal.addUpload(upload, at: path)
        guard let name = path.name, let listed = ListedUpload(upload, of: path, in: parent) else { return }
        self.namespace.hideStagingName(of: upload, for: name, in: parent)
        self.begun.use(listed)
    }

    /// An upload is the file, and no listing shows it any more.
    func didComplete(_ upload: UploadID, at path: RemotePath, in parent: InodeNumber) {
        self.begun.remove(upload)
        self.journal.removeUpload(upload)
        guard let listed = ListedUpload(upload, of: path, in: parent) else { return }
        self.namespace.unhideStagingName(listed.name, in: parent)
    }

    /// Bytes of a source, waiting for those that only the service has.
    ///
    /// - Returns: The bytes in order: fewer than asked for at the source's end, or if a writer cut it meanwhile.
    func slices(of range: Range<UInt64>, _ source: Source) async throws(FileSystemError) -> [ByteSlice] {
        let range = range.clamped(to: 0..<source.size)
        guard let staged = source.staged else { return try await self.baseSlices(of: range, source) }
        let pieces = staged.pieces(of: range)
        guard pieces.contains(where: \.isHere) else { return try await self.baseSlices(of: range, source) }
        let missing = pieces.filter { !$0.isHere }.map(\.range)
        self.fetchMissing(missing, source)
        // What is waited for first, in blocks that the cache counts.
        var fetched: [[ByteSlice]] = []
        for piece in missing { fetched.append(try await self.baseSlices(of: piece, source)) }
        var rest = fetched[...]
        // One buffer: there may be a piece for every other byte.
        let buffer = ByteBuffer(count: range.count)
        var filled = 0
        for (piece, isHere) in pieces {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer.uninitialized[filled...])
            let count: Int
            if isHere {
                do throws(Errno) {
                    let part = UnsafeMutableRawBufferPointer(rebasing: room[..<piece.count])
                    count = try staged.read(into: part, at: piece.lowerBound)
                } catch {
                    throw .local(error)
                }
            } else {
                var copied = 0
                for slice in rest.popFirst() ?? [] {
                    UnsafeMutableRawBufferPointer(rebasing: room[copied...]).copyMemory(from: slice.bytes)
                    copied += slice.range.count
                }
                count = copied
            }
            filled += count
            if count < piece.count { break }
        }
        return [ByteSlice(buffer, 0..<filled)]
    }

    /// Asks for all that is missing at once, not piece by piece.
    private func fetchMissing(_ missing: [Range<UInt64>], _ source: Source) {
        guard missing.count > 1, let base = source.base, let first = missing.first, let last = missing.last
        else {
            return
        }
        self.cache.readAhead(base, first.lowerBound..<last.upperBound)
    }

    /// Bytes of the version on the service.
    private func baseSlices(
        of range: Range<UInt64>,
        _ source: Source
    ) async throws(FileSystemError) -> [ByteSlice] {
        guard !range.isEmpty else { return [] }
        guard let base = source.base else { throw .stale }
        do throws(BlockError) {
            do throws(BlockError) {
                return try await self.cache.read(base, range)
            } catch .changedOnServer {
                // That it is shorter is believed when it is met a second time.
                return try await self.cache.read(base, range)
            }
        } catch {
            throw FileSystemError(error)
        }
    }
}
