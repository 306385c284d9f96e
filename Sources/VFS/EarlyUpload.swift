import Inodes
import Primitives
import RemoteAPI
import Staging
import Synchronization
import Transfers
import WireFormat

/// The upload of a file that is still being written, whose final size is known or guessed: parts that are written go up
/// while the program writes the next.
///
/// A part that is sent is sealed in the staged file; a change of it, or another size in the end, and nothing of this
/// upload is used.
final class EarlyUpload: Sendable {
    private struct State {
        /// Parts on their way or sent.
        var parts: [Int: Task<Bool, Never>] = [:]
        var isEnded = false
        var isDropped = false
    }

    /// The size that the file will have, in bytes.
    let size: UInt64
    /// Where it goes.
    let path: RemotePath
    private let directory: InodeNumber
    private let staged: StagedFile
    private let uploader: Uploader
    private let plan: PartPlan
    private let place: UploadLanes.Upload
    private let beginning: Task<UploadID?, Never>
    private let isWanted: @Sendable () -> Bool
    private let state = Mutex(State())

    /// Larger parts would begin late, and be much to send in vain.
    private static let maximumPartSize: UInt64 = 16 << 20

    /// Begins an upload.
    ///
    /// - Parameters:
    ///   - staged: The file's bytes.
    ///   - size: How many there will be.
    ///   - path: Where they go.
    ///   - parent: The directory, whose listing may show the upload.
    ///   - uploader: What uploads share.
    ///   - isWanted: Asked before each part: whether the file may still come to be at that path.
    init(
        _ staged: StagedFile,
        size: UInt64,
        path: RemotePath,
        in parent: InodeNumber,
        uploader: Uploader,
        isWanted: @escaping @Sendable () -> Bool
    ) {
        self.staged = staged
        self.size = size
        self.path = path
        self.directory = parent
        self.uploader = uploader
        let plan = uploader.lanes.plan(size: size)
        // No more than a thousand parts all the same.
        self.plan = PartPlan(
            size: size,
            partSize: min(plan.partSize, max(Self.maximumPartSize, size / 1000))
        )
        self.place = uploader.lanes.makeUpload()
        self.isWanted = isWanted
        self.beginning = Task {
            let begin = ContinuousClock.now
            guard let upload = try? await uploader.remote.beginUpload(path, size: size) else { return nil }
            uploader.lanes.noteRoundTrip(.now - begin)
            uploader.didBegin(upload, at: path, in: parent)
            return upload
        }
    }

    deinit { self.drop() }

    /// Bytes were written: parts that are whole by that go up.
    ///
    /// - Parameters:
    ///   - range: Which, offsets in bytes, end exclusive.
    ///   - run: All that was written around them without a gap.
    func advance(_ range: Range<UInt64>, in run: Range<UInt64>) {
        let first = Int(range.lowerBound / self.plan.partSize)
        // The last part waits for the close: until then the file may come to be of another size.
        let end = min(Int(range.upperBound / self.plan.partSize) + 1, self.plan.count - 1)
        guard first < end else { return }
        self.state.withLock { state in
            for part in first..<end where !state.isEnded && state.parts[part] == nil {
                let bytes = self.plan[part]
                // All of it is here, and what changes it from now on shows.
                guard bytes.clamped(to: run) == bytes, self.staged.seal(bytes) else { continue }
                state.parts[part] = self.send(bytes)
            }
        }
    }

    private func send(_ range: Range<UInt64>) -> Task<Bool, Never> {
        let (uploader, staged, path) = (self.uploader, self.staged, self.path)
        let (place, beginning, isWanted) = (self.place, self.beginning, self.isWanted)
        return Task {
            guard let upload = await beginning.value else { return false }
            do throws(RemoteError) {
                let isSent: Void? = try await uploader.lanes.send(place, range.count) {
                    () async throws(RemoteError) in
                    guard isWanted(), staged.isSealed else { throw .cancelled }
                    let body = StagedBodyReader(staged, range)
                    try await uploader.remote.putPart(path, upload, at: range.lowerBound, body: body)
                }
                return isSent != nil
            } catch {
                // Sent at the close, then, where that is told if it fails again.
                return false
            }
        }
    }

    /// Nothing more is sent.
    func drop() {
        let parts: [Task<Bool, Never>]? = self.state.withLock { state in
            if state.isDropped { return nil }
            state.isDropped = true
            state.isEnded = true
            return Array(state.parts.values)
        }
        guard let parts else { return }
        // It begins all the same: cut off, it might have begun on the service, with an id that nobody knows.
        for part in parts { part.cancel() }
        self.uploader.begun.leave(in: self.directory) { [beginning = self.beginning] in
            let upload = await beginning.value
            for part in parts { _ = await part.value }
            return upload
        }
    }

    /// Sends nothing more by itself; what is on its way goes on, for an upload of exactly what is there now.
    ///
    /// - Returns: Whether what was sent is of use for it; else it is to be dropped.
    func end(for size: UInt64, at path: RemotePath) -> Bool {
        let isIntact = size == self.size && path == self.path && self.staged.isSealed
        return self.state.withLock { state in
            defer { state.isEnded = true }
            return isIntact && !state.isEnded
        }
    }

    /// The upload as one to go on with; nothing if it could not begin.
    func begun() async -> EarlierUpload? {
        guard let upload = await self.beginning.value else { return nil }
        // What is on its way is asked for part by part.
        return EarlierUpload(id: upload, partSize: self.plan.partSize, sentParts: [])
    }

    /// Whether a part was sent, once it is known.
    func wasSent(_ part: Int, of upload: UploadID) async -> Bool {
        guard await self.beginning.value == upload else { return false }
        return await self.state.withLock { $0.parts[part] }?.value ?? false
    }
}
