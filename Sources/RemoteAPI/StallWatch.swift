import Synchronization
import Transport

/// Looks at the requests on the way now and then, and has those asked again that are slower than their peers by far.
final class StallWatch: Sendable {
    /// A request on the way.
    private struct Watched {
        let handle: TransferHandle
        let urgency: RequestUrgency
        var isRepeated = false
        /// Whether it sends a part of an upload.
        var isPart = false
        /// Asks again; returns whether it could.
        let askAgain: @Sendable () -> Bool
    }

    private struct State {
        var detector = StallDetector()
        var standstills = StandstillDetector()
        var watched: [UInt64: Watched] = [:]
        var nextID: UInt64 = 0
        /// Whether somebody looks at them.
        var isLooking = false

        var isIdle: Bool { self.detector.isIdle && self.standstills.isIdle }

        /// Takes note of how far all are.
        ///
        /// - Returns: Those that are slow by far.
        mutating func look(at now: Duration) -> [UInt64] {
            let parts = self.watched.filter(\.value.isPart).mapValues(\.handle.partProgress)
            let others = self.watched.filter { !$0.value.isPart }.mapValues(\.handle.progress)
            return self.detector.look(others, at: now) + self.standstills.look(parts, at: now)
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
        self.add(Watched(handle: handle, urgency: urgency, askAgain: askAgain)) { state, id, now in
            state.detector.began(id, kind: kind, expected: expected, at: now)
            return state.detector.canCompare
        }
    }

    /// Watches a part of an upload that is being sent, until it is removed.
    ///
    /// - Parameters:
    ///   - byteCount: How large it is.
    ///   - handle: What is seen of it.
    ///   - urgency: Whether somebody waits for it.
    ///   - cutOff: Cuts it off, to be sent again; returns whether it did.
    /// - Returns: Its number.
    func add(
        part byteCount: UInt64,
        _ handle: TransferHandle,
        _ urgency: RequestUrgency,
        cutOff: @escaping @Sendable () -> Bool
    ) -> UInt64 {
        let part = Watched(handle: handle, urgency: urgency, isPart: true, askAgain: cutOff)
        return self.add(part) { state, id, now in
            state.detector.earn()
            state.standstills.began(id, byteCount: byteCount, at: now)
            return state.standstills.canCompare
        }
    }

    /// Watches something, and looks from now on if it is told that there is something to compare it with.
    private func add(_ watched: Watched, _ begin: (inout State, UInt64, Duration) -> Bool) -> UInt64 {
        let now = self.clock.now()
        let (id, starts) = self.state.withLock { state in
            state.nextID += 1
            state.watched[state.nextID] = watched
            let canCompare = begin(&state, state.nextID, now)
            let starts = !state.isLooking && canCompare
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
            if watched.isPart {
                state.standstills.ended(id, watched.handle.partProgress, isUsual: isUsual, at: now)
            } else {
                state.detector.ended(id, watched.handle.progress, isUsual: isUsual, at: now)
            }
        }
    }

    private func look() async {
        while true {
            // It throws for a cancelled task alone, and nobody cancels this one.
            do { try await self.clock.sleep(Self.interval) } catch { return }
            let now = self.clock.now()
            let (slow, isOver): ([UInt64], Bool) = self.state.withLock { state in
                let slow = state.look(at: now)
                if state.isIdle { state.isLooking = false }
                return (slow, state.isIdle)
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

    fileprivate var partProgress: StandstillDetector.Progress {
        StandstillDetector.Progress(sent: self.sentByteCount, isPaused: self.isPaused)
    }
}
