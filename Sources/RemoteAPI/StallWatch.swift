import Synchronization
import Transport

/// Looks at the requests on the way now and then, and has those asked again that are slower than their peers by far.
final class StallWatch: Sendable {
    /// A request on the way.
    private struct Watched {
        let handle: TransferHandle
        let urgency: RequestUrgency
        var isRepeated = false
        /// Asks again; returns whether it could.
        let askAgain: @Sendable () -> Bool
    }

    private struct State {
        var detector = StallDetector()
        var watched: [UInt64: Watched] = [:]
        var nextID: UInt64 = 0
        /// Whether somebody looks at them.
        var isLooking = false

        func progress() -> [UInt64: StallDetector.Progress] {
            self.watched.mapValues(\.handle.progress)
        }
    }

    private let state = Mutex(State())
    private let clock: RetryClock
    /// How often it looks.
    static let interval = Duration.milliseconds(250)

    init(clock: RetryClock) {
        self.clock = clock
    }

    /// Watches a request that is being sent, until it is removed.
    ///
    /// - Parameters:
    ///   - kind: What it is compared with: calls of its name.
    ///   - expected: The bytes that it is to bring, where that is known.
    ///   - handle: What is seen of it.
    ///   - urgency: Only what somebody waits for is asked again.
    ///   - askAgain: Asks again, at most once; returns whether it could.
    /// - Returns: Its number.
    func add(
        kind: String,
        expected: UInt64?,
        _ handle: TransferHandle,
        _ urgency: RequestUrgency,
        askAgain: @escaping @Sendable () -> Bool
    ) -> UInt64 {
        let now = self.clock.now()
        let (id, starts) = self.state.withLock { state in
            state.nextID += 1
            state.detector.began(state.nextID, kind: kind, expected: expected, at: now)
            state.watched[state.nextID] = Watched(handle: handle, urgency: urgency, askAgain: askAgain)
            let starts = !state.isLooking && state.detector.canCompare
            if starts { state.isLooking = true }
            return (state.nextID, starts)
        }
        if starts { Task { await self.look() } }
        return id
    }

    /// A request has ended; `isUsual` where it ended by itself and well.
    func remove(_ id: UInt64, isUsual: Bool) {
        let now = self.clock.now()
        self.state.withLock { state in
            guard let watched = state.watched.removeValue(forKey: id) else { return }
            state.detector.ended(id, watched.handle.progress, isUsual: isUsual, at: now)
        }
    }

    private func look() async {
        while true {
            // It throws for a cancelled task alone, and nobody cancels this one.
            do { try await self.clock.sleep(Self.interval) } catch { return }
            let now = self.clock.now()
            let (slow, isOver): ([UInt64], Bool) = self.state.withLock { state in
                let slow = state.detector.look(state.progress(), at: now)
                if state.detector.isIdle { state.isLooking = false }
                return (slow, state.detector.isIdle)
            }
            for id in slow { self.repeatRequest(id) }
            if isOver { return }
        }
    }

    private func repeatRequest(_ id: UInt64) {
        let askAgain: (@Sendable () -> Bool)? = self.state.withLock { state in
            guard let watched = state.watched[id], !watched.isRepeated, watched.urgency.isWaitedFor,
                state.detector.spend()
            else { return nil }
            state.watched[id]?.isRepeated = true
            return watched.askAgain
        }
        guard let askAgain, !askAgain() else { return }
        // There was no place for it: perhaps next time.
        self.state.withLock { state in
            state.watched[id]?.isRepeated = false
            state.detector.refund()
        }
    }
}

extension TransferHandle {
    fileprivate var progress: StallDetector.Progress {
        StallDetector.Progress(firstByte: self.firstByteMoment, received: self.receivedByteCount)
    }
}
