import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import Staging
import Synchronization
import Transfers
import Transport
import WireFormat

/// Writes down how far an upload is, so that it can be gone on with after a crash; nothing of it may wait for a disk
/// but where it says so.
protocol UploadRecorder: Sendable {
    /// An upload of exactly these bytes that was begun before; nothing if there is none.
    var earlier: EarlierUpload? { get }
    /// Whether attempts to go on with it, the one that just ended too, brought no part of it forward: the service may not
    /// know it any more, and say so as if it were out of order.
    var isFruitless: Bool { get }
    /// An upload goes on, or a new one takes the place of any that was written down.
    func didBegin(_ upload: EarlierUpload)
    /// A part has arrived.
    func didSend(_ part: Int, of upload: UploadID)
    /// All parts have arrived, and the call follows that makes them the file; may wait.
    func willComplete(_ upload: UploadID) async throws(FileSystemError)
}

/// One upload of a file's bytes, as it asks for them and tells how far it is.
final class UploadCourse: UploadSource {
    /// Why it was stopped from here.
    enum Failure: Error {
        /// A writer changed the file meanwhile.
        case outrun
        case failed(FileSystemError)
    }

    private let source: Uploader.Source
    private let uploader: Uploader
    private let place: (path: RemotePath, parent: InodeNumber)
    private let early: EarlyUpload?
    private let recorder: (any UploadRecorder)?
    private let isCurrent: @Sendable () -> Bool
    private let beforeComplete: @Sendable () async throws(FileSystemError) -> Void
    private let beforeSendingAgain: @Sendable () -> Void
    /// Whether the last upload that was begun may have become the file.
    private let mayBeFile = Atomic(false)
    private let begun = Mutex<UploadID?>(nil)
    private let cause = Mutex<FileSystemError?>(nil)

    /// Takes what an upload needs; see
    /// ``Uploader/upload(_:to:in:previousSize:early:recorder:beforeComplete:beforeSendingAgain:isCurrent:)``.
    init(
        _ source: Uploader.Source,
        uploader: Uploader,
        place: (path: RemotePath, parent: InodeNumber),
        early: EarlyUpload?,
        recorder: (any UploadRecorder)?,
        beforeComplete: @escaping @Sendable () async throws(FileSystemError) -> Void,
        beforeSendingAgain: @escaping @Sendable () -> Void,
        isCurrent: @escaping @Sendable () -> Bool
    ) {
        self.source = source
        self.uploader = uploader
        self.place = place
        self.early = early
        self.recorder = recorder
        self.beforeComplete = beforeComplete
        self.beforeSendingAgain = beforeSendingAgain
        self.isCurrent = isCurrent
    }

    /// Why a part's bytes could not be had, of which its request knows only that.
    var bodyFailure: FileSystemError? { self.cause.withLock { $0 } }

    func willBeginAnew() {
        if self.end() { self.beforeSendingAgain() }
    }

    func didBegin(_ upload: EarlierUpload) {
        self.willBeginAnew()
        self.recorder?.didBegin(upload)
        self.uploader.didBegin(upload.id, at: self.place.path, in: self.place.parent)
        self.begun.withLock { $0 = upload.id }
    }

    func didAbandon(_ beginning: Task<UploadID?, Never>) {
        let (uploader, place) = (self.uploader, self.place)
        uploader.begun.leave(in: place.parent) {
            guard let upload = await beginning.value else { return nil }
            uploader.didBegin(upload, at: place.path, in: place.parent)
            return upload
        }
    }

    /// Nothing more is sent of the upload that was begun last.
    ///
    /// - Returns: Whether it may have become the file.
    @discardableResult
    func end() -> Bool {
        let mayBeFile = self.mayBeFile.exchange(false, ordering: .relaxed)
        if let upload = self.begun.withLock({ $0.take() }) {
            self.uploader.begun.leave(upload, mayBeFile: mayBeFile)
        }
        return mayBeFile
    }

    /// From the staged file while it is sent, and what is not there through the block cache.
    func body(of range: Range<UInt64>) throws(Failure) -> any BodyReader {
        if let staged = self.source.staged, staged.pieces(of: range).allSatisfy(\.isHere) {
            return StagedBodyReader(staged, range)
        }
        guard let base = self.source.base else { throw .failed(.stale) }
        return MixedBodyReader(
            range,
            staged: self.source.staged,
            base: base,
            cache: self.uploader.cache
        ) { [weak self] error in
            self?.cause.withLock { $0 = $0 ?? error }
        }
    }

    func wasSent(_ part: Int, of upload: UploadID) async -> Bool {
        guard let early = self.early, await early.wasSent(part, of: upload) else { return false }
        self.recorder?.didSend(part, of: upload)
        return true
    }

    func didSend(_ part: Int, of upload: UploadID) { self.recorder?.didSend(part, of: upload) }

    func willComplete(_ upload: UploadID) async throws(Failure) {
        if !self.isCurrent() { throw .outrun }
        do throws(FileSystemError) { try await self.beforeComplete() } catch { throw .failed(error) }
        if !self.isCurrent() { throw .outrun }
        self.mayBeFile.store(true, ordering: .relaxed)
        // Last: from here on the service may have the file.
        do throws(FileSystemError) {
            try await self.recorder?.willComplete(upload)
        } catch {
            throw .failed(error)
        }
    }

    /// The file is there, and no listing shows the upload any more.
    func didComplete() {
        guard let upload = self.begun.withLock({ $0 }) else { return }
        self.uploader.didComplete(upload, at: self.place.path, in: self.place.parent)
    }
}
