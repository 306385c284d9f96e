import Primitives
import RemoteAPI
import Synchronization

/// What all uploads of a mount share: how many parts are on their way at once, and whose turn it is.
///
/// As many as fill the way to the service, by what it was seen to carry and to take. A part goes next whose upload has
/// the fewest on their way, so that a small file does not wait for the whole of a large one.
public final class UploadLanes: Sendable {
    /// One upload among the others.
    public struct Upload: Sendable, Hashable {
        fileprivate let number: UInt64
    }

    private struct Waiter {
        let number: UInt64
        let upload: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var pace = UploadPace()
        var next: UInt64 = 0
        /// Parts on their way, by their upload's number.
        var busy: [UInt64: Int] = [:]
        var busyCount = 0
        /// In the order in which they came.
        var waiters: [Waiter] = []

        mutating func number() -> UInt64 {
            self.next += 1
            return self.next
        }

        mutating func take(_ upload: UInt64, at now: ContinuousClock.Instant) {
            if self.busyCount == 0 { self.pace.begin(at: now) }
            self.busy[upload, default: 0] += 1
            self.busyCount += 1
        }
    }

    private let state = Mutex(State())
    /// Parts on their way whose bodies wait for other requests: far fewer than there are connections.
    let waitingBodies = AsyncSemaphore(16)
    /// How many there are at most.
    let maximumCount: Int
    /// Every part's size where it is not planned, in bytes; such parts take lanes.
    private let fixedPartSize: UInt64?
    private let now: @Sendable () -> ContinuousClock.Instant

    /// The most parts on their way at once. Each has a buffer of half a MiB, and a connection.
    public static let standardMaximumCount = 16

    /// Smaller parts take no lane: of many small files as many go at once as there may be requests.
    private static let leastPartByteCount = 1 << 20

    /// Makes lanes that are all free.
    ///
    /// - Parameters:
    ///   - maximumCount: How many there are at most.
    ///   - now: The time, by which the way to the service is measured.
    public init(
        maximumCount: Int = UploadLanes.standardMaximumCount,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.maximumCount = max(1, maximumCount)
        self.fixedPartSize = nil
        self.now = now
    }

    /// Makes so many lanes for parts of one size, in bytes, however small it is.
    public init(maximumCount: Int, partSize: UInt64) {
        self.maximumCount = maximumCount
        self.fixedPartSize = partSize
        self.now = { .now }
    }

    /// How many there are now.
    public var count: Int { self.state.withLock { min(self.maximumCount, $0.pace.laneCount) } }

    /// The smallest part of a file of several, in bytes.
    public var leastPartSize: UInt64 { self.fixedPartSize ?? PartPlan.minimumPartSize }

    /// How a file is to be cut into parts, by its size and by what was measured.
    public func plan(size: UInt64) -> PartPlan { PartPlan(size: size, partSize: self.partSize(for: size)) }

    private func partSize(for size: UInt64) -> UInt64 {
        if let fixed = self.fixedPartSize { return fixed }
        let count = self.count
        let rate = self.state.withLock { $0.pace.rate }
        return PartPlan.partSize(for: size, lanes: count, bytesPerSecond: rate)
    }

    /// Takes part among the others; no end of it is due.
    public func makeUpload() -> Upload { Upload(number: self.state.withLock { $0.number() }) }

    /// A call without a body took so long.
    public func noteRoundTrip(_ duration: Duration) {
        self.state.withLock { $0.pace.add(roundTrip: duration) }
    }

    /// Sends a part when it is its turn.
    ///
    /// - Parameters:
    ///   - upload: Whose.
    ///   - byteCount: How large it is.
    ///   - send: Sends it.
    /// - Returns: What `send` returned; nothing if the task was cancelled before its turn came.
    /// - Throws: What `send` threw.
    public func send<Value, Failure: Error>(
        _ upload: Upload,
        _ byteCount: Int,
        _ send: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value? {
        let takesLane = byteCount >= Self.leastPartByteCount || self.fixedPartSize != nil
        guard takesLane else { return try await send() }
        guard await self.enter(upload.number) else { return nil }
        do throws(Failure) {
            let value = try await send()
            self.leave(upload.number, sent: byteCount)
            return value
        } catch {
            self.leave(upload.number, sent: 0)
            throw error
        }
    }

    private func enter(_ upload: UInt64) async -> Bool {
        let number = self.state.withLock { $0.number() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = self.now()
                let isIn: Bool? = self.state.withLock { state in
                    if Task.isCancelled { return false }
                    // Who waits does so for want of lanes, so that nobody is overtaken here.
                    if state.busyCount < min(self.maximumCount, state.pace.laneCount) {
                        state.take(upload, at: now)
                        return true
                    }
                    state.waiters.append(Waiter(number: number, upload: upload, continuation: continuation))
                    return nil
                }
                if let isIn { continuation.resume(returning: isIn) }
            }
        } onCancel: {
            let waiter = self.state.withLock { state in
                state.waiters.firstIndex { $0.number == number }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume(returning: false)
        }
    }

    private func leave(_ upload: UInt64, sent: Int) {
        let now = self.now()
        let admitted: [Waiter] = self.state.withLock { state in
            state.busyCount -= 1
            let left = state.busy[upload, default: 1] - 1
            state.busy[upload] = left > 0 ? left : nil
            state.pace.add(sent, at: now, isLast: state.busyCount == 0)
            var admitted: [Waiter] = []
            while state.busyCount < min(self.maximumCount, state.pace.laneCount),
                let index = state.waiters.indices.min(by: { one, other in
                    state.busy[state.waiters[one].upload, default: 0]
                        < state.busy[state.waiters[other].upload, default: 0]
                })
            {
                let waiter = state.waiters.remove(at: index)
                state.take(waiter.upload, at: now)
                admitted.append(waiter)
            }
            return admitted
        }
        for waiter in admitted { waiter.continuation.resume(returning: true) }
    }
}
