import Synchronization

/// How fast the disk takes blocks.
final class WritePace: Sendable {
    private struct State {
        var bytesPerSecond: Double?
        /// Until when what was written is counted.
        var last: ContinuousClock.Instant?
    }

    private let state = Mutex(State())

    /// A pause between two pieces of work that is shorter is part of what writing takes.
    private static let longestPause = Duration.milliseconds(10)
    /// A disk that has not taken a piece of 4 MiB by then counts as one that takes none.
    private static let longestPiece = Duration.seconds(2)

    /// Bytes per second in the last moments: the most that there is if nothing was written yet, and nothing if the disk
    /// has not taken any for a while. Asked while something waits.
    func bytesPerSecond(at now: ContinuousClock.Instant = .now) -> Double {
        self.state.withLock { state in
            guard let last = state.last else { return .infinity }
            return now - last > Self.longestPiece ? 0 : state.bytesPerSecond ?? .infinity
        }
    }

    /// Something waits to be written: a disk that has never taken anything counts from now on as one that takes none.
    func expect() { self.state.withLock { $0.last = $0.last ?? .now } }

    /// Blocks are going to be written.
    func begin() {
        let now = ContinuousClock.now
        self.state.withLock { state in
            if state.last.map({ now - $0 > Self.longestPause }) ?? true { state.last = now }
        }
    }

    /// So many bytes were written since the last call of one of these.
    func add(_ byteCount: Int) {
        let now = ContinuousClock.now
        self.state.withLock { state in
            defer { state.last = now }
            guard let last = state.last, byteCount > 0 else { return }
            let rate = Double(byteCount) / max((now - last).timeInterval, 1e-6)
            // The last half dozen pieces.
            state.bytesPerSecond = state.bytesPerSecond.map { $0 + (rate - $0) / 4 } ?? rate
        }
    }
}
