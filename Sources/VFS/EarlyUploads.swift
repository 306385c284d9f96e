import Inodes
import Staging
import Synchronization
import WireFormat

/// Watches how a file is written, and begins its upload before it is closed where its size can be known.
final class EarlyUploads: Sendable {
    private struct State {
        /// The staged file that was watched.
        var staged: ObjectIdentifier?
        /// Up to where it was written from its start on, without a gap.
        var end: UInt64 = 0
        /// The size that it is to have, in bytes, as its program has said by making room for it.
        var expectedSize: UInt64 = 0
        /// How often its size was asked for, or guessed.
        var guessCount = 0
        var upload: EarlyUpload?
    }

    private let state = Mutex(State())

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
        let (seen, decides): (State, Bool) = self.state.withLock { state in
            if state.staged != ObjectIdentifier(staged) {
                state = State(staged: ObjectIdentifier(staged))
            }
            if range.lowerBound <= state.end { state.end = max(state.end, range.upperBound) }
            guard state.upload == nil, range.upperBound == state.end,
                state.guessCount < Self.maximumGuessCount,
                state.end >= partSize * UInt64(state.guessCount + 1)
            else { return (state, false) }
            state.guessCount += 1
            return (state, true)
        }
        let end = seen.end
        if let upload = seen.upload {
            if staged.size <= upload.size, staged.isSealed { return upload.advance(to: end) }
            // Not as it was to be: all of it waits for the close.
            upload.drop()
            self.state.withLock { $0.upload = nil }
            return staged.unseal()
        }
        guard decides else { return }
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
        if isFirst { upload.advance(to: end) } else { upload.drop() }
    }

    /// Ends the upload that runs ahead, for one of what is there now; the file is watched anew.
    ///
    /// - Returns: The upload if it is of use: nothing of what it sent was changed, and the size is what it was to be.
    func take(_ staged: StagedFile, size: UInt64, at path: RemotePath) -> EarlyUpload? {
        let upload: EarlyUpload? = self.state.withLock { state in
            guard state.staged == ObjectIdentifier(staged) else { return nil }
            defer { state = State() }
            return state.upload
        }
        guard let upload else { return nil }
        defer { staged.unseal() }
        return upload.end(for: size, at: path) ? upload : nil
    }
}
