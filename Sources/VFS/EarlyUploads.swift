import Inodes
import Staging
import Synchronization
import WireFormat

/// Watches how a file is written, and begins its upload before it is closed where its size can be known.
final class EarlyUploads: Sendable {
    private struct State {
        /// The staged file that was watched.
        var staged: ObjectIdentifier?
        /// Where it was written.
        var written = ExtentMap()
        /// The size that it is to have, in bytes, as its program has said by making room for it.
        var expectedSize: UInt64 = 0
        /// How often its size was asked for, or guessed.
        var guessCount = 0
        var upload: EarlyUpload?

        /// Notes bytes that were written.
        ///
        /// - Returns: All that was written around them without a gap.
        mutating func note(_ range: Range<UInt64>) -> Range<UInt64> {
            self.written.insert(range)
            if self.written.extents.count > EarlyUploads.maximumRunCount {
                self.written = ExtentMap()
                self.written.insert(range)
            }
            return self.written.extents.first { $0.contains(range.lowerBound) } ?? range
        }
    }

    private let state = Mutex(State())

    /// Who writes in more places than this does not write in order: only what comes from then on counts.
    private static let maximumRunCount = 64
    /// A first guess is made when a part was written in order, and another one a part later.
    private static let maximumGuessCount = 2
    /// Smaller files, in parts, have hardly one that could be sent before the last.
    private static let leastPartCount: UInt64 = 2

    /// Room was made for a file of a size, in bytes, before it is written.
    func expect(_ size: UInt64, of staged: StagedFile) {
        self.state.withLock { state in
            if state.staged != ObjectIdentifier(staged) {
                state = State(staged: ObjectIdentifier(staged))
            }
            state.expectedSize = size
        }
    }

    /// Bytes were written, beside nothing that would change the sizes.
    ///
    /// - Parameters:
    ///   - range: Which, offsets in bytes, end exclusive.
    ///   - staged: The file that they are in.
    ///   - partSize: The smallest part's, in bytes.
    ///   - guess: The size that the file may come to have, by the offset that its writer has reached; asked once or twice.
    ///   - begin: Begins an upload of that size.
    func didWrite(
        _ range: Range<UInt64>,
        to staged: StagedFile,
        partSize: UInt64,
        guess: (UInt64) -> UInt64?,
        begin: (UInt64) -> EarlyUpload?
    ) {
        let (run, seen, decides): (Range<UInt64>, State, Bool) = self.state.withLock { state in
            if state.staged != ObjectIdentifier(staged) {
                state = State(staged: ObjectIdentifier(staged))
            }
            let run = state.note(range)
            guard state.upload == nil,
                // In order, or nearly.
                run.upperBound - range.upperBound < partSize,
                state.guessCount < Self.maximumGuessCount,
                UInt64(run.count) >= partSize * UInt64(state.guessCount + 1)
            else { return (run, state, false) }
            state.guessCount += 1
            return (run, state, true)
        }
        if let upload = seen.upload {
            if staged.size <= upload.size, staged.isSealed { return upload.advance(range, in: run) }
            // Not as it was to be: all of it waits for the close.
            upload.drop()
            return self.state.withLock { state in
                // Else somebody has taken it, and the seal may be another one's.
                guard state.upload === upload else { return }
                state.upload = nil
                staged.unseal()
            }
        }
        guard decides else { return }
        let end = run.upperBound
        let known = max(staged.size, seen.expectedSize)
        guard let expected = known > end ? known : guess(end), expected > end,
            expected >= partSize * Self.leastPartCount, let upload = begin(expected)
        else { return }
        let isFirst = self.state.withLock { state in
            guard state.staged == ObjectIdentifier(staged), state.upload == nil else { return false }
            state.upload = upload
            // Should it be dropped, there is no other one.
            state.guessCount = Self.maximumGuessCount
            return true
        }
        if isFirst { upload.advance(run, in: run) } else { upload.drop() }
    }

    /// Ends the upload that runs ahead, for one of what is there now; the file is watched anew.
    ///
    /// - Returns: The upload if it is of use: nothing of what it sent was changed, and the size is what it was to be.
    func take(_ staged: StagedFile, size: UInt64, at path: RemotePath) -> EarlyUpload? {
        let (upload, isOfUse): (EarlyUpload?, Bool) = self.state.withLock { state in
            guard state.staged == ObjectIdentifier(staged) else { return (nil, false) }
            let upload = state.upload
            state = State()
            let isOfUse = upload?.end(for: size, at: path) == true
            if upload != nil { staged.unseal() }
            return (upload, isOfUse)
        }
        if isOfUse { return upload }
        upload?.drop()
        return nil
    }
}
