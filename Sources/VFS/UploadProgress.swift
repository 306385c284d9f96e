import Primitives
import Staging
import Synchronization
import Transfers
import WireFormat

/// How far the upload of a file is: known here for another attempt after an outage, and in the journal for another mount
/// after a crash.
final class UploadProgress: Sendable {
    /// What an upload sends, and where to: only one of exactly that can be gone on with.
    struct Subject: Sendable {
        let staged: StagedFile
        let snapshot: StagedFile.Snapshot
        /// The version that bytes not staged come from.
        let base: ContentID?
        let path: RemotePath
    }

    private struct State {
        /// Not kept by this.
        private weak var staged: StagedFile?
        private let snapshot: StagedFile.Snapshot
        private let base: ContentID?
        private let path: RemotePath
        var upload: EarlierUpload
        /// How often it was gone on with since a part of it arrived.
        var fruitlessCount = 0

        init(_ subject: Subject, _ upload: EarlierUpload) {
            self.staged = subject.staged
            self.snapshot = subject.snapshot
            self.base = subject.base
            self.path = subject.path
            self.upload = upload
        }

        /// Whether it sends what waits here now.
        var isOfWhatWaits: Bool { self.staged?.isDirty == true && self.staged?.snapshot == self.snapshot }

        func isOf(_ subject: Subject) -> Bool {
            self.staged === subject.staged && self.snapshot == subject.snapshot
                && self.base == subject.base && self.path == subject.path
        }
    }

    private let state = Mutex<State?>(nil)

    /// The upload that another attempt goes on with unless something is changed; nothing if there is none.
    var resumable: UploadID? {
        guard let state = self.state.withLock(\.self), state.isOfWhatWaits else { return nil }
        return state.upload.id
    }

    /// Takes up what a journal says of an upload.
    ///
    /// Of a file that is not all here nothing is taken up: what else was sent came from a file on the service, which
    /// may be another one by now.
    func restore(_ upload: Journal.Upload, of subject: Subject) {
        guard subject.staged.isWhole else { return }
        let upload = EarlierUpload(id: upload.id, partSize: upload.partSize, sentParts: upload.sentParts)
        self.state.withLock { $0 = State(subject, upload) }
    }

    /// Makes what writes down the next upload, and knows how far one of the same came.
    ///
    /// - Parameters:
    ///   - subject: What it sends.
    ///   - isToldBySize: Whether a file of its size on the service, where there was one of another, can be no other
    ///     upload: then a later mount takes that for this one.
    /// - Returns: The recorder.
    func recorder(for subject: Subject, isToldBySize: Bool = true) -> any UploadRecorder {
        Recorder(progress: self, subject: subject, isToldBySize: isToldBySize)
    }

    private struct Recorder: UploadRecorder {
        let progress: UploadProgress
        let subject: Subject
        let isToldBySize: Bool

        var earlier: EarlierUpload? {
            self.progress.state.withLock { $0?.isOf(self.subject) == true ? $0?.upload : nil }
        }

        /// Twice, as what the first one met may have been an outage, after which no part is to be sent again.
        var isFruitless: Bool { self.progress.state.withLock { $0?.fruitlessCount ?? 0 >= 2 } }

        func didBegin(_ upload: EarlierUpload) {
            self.progress.state.withLock { state in
                let count = state.flatMap { $0.upload.id == upload.id ? $0.fruitlessCount + 1 : nil }
                state = State(self.subject, upload)
                state?.fruitlessCount = count ?? 0
            }
            self.subject.staged.beginUpload(
                upload.id,
                partSize: upload.partSize,
                sentParts: upload.sentParts,
                of: self.subject.snapshot
            )
        }

        func didSend(_ part: Int, of upload: UploadID) {
            self.progress.state.withLock { state in
                guard state?.upload.id == upload else { return }
                state?.upload.sentParts.insert(part)
                state?.fruitlessCount = 0
            }
            self.subject.staged.didSend(part: part, of: upload)
        }

        func willComplete(_ upload: UploadID) {
            if self.isToldBySize { self.subject.staged.willComplete(upload) }
        }
    }
}
