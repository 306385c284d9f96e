import Synchronization
import Transport

/// What a call reads: where its bytes go, and how the rest of them is asked for.
struct ReadBody: Sendable {
    /// Where they go.
    let shared: SharedBody
    /// The call that asks for all but so many of them.
    let call: @Sendable (_ delivered: UInt64) -> RemoteCall
}

extension RemoteClient {
    /// What one request ended with; nothing if it was cancelled, or stopped for another one.
    typealias Answer = Result<HTTPResponse, CallFailure>?

    /// Makes one attempt, once there is a place for it.
    ///
    /// A key that the server refuses is read again, and if it has changed, the call repeated at once: it was not
    /// acted upon. What only reads and is slower than its peers by far is asked again beside the first request,
    /// once, and the first good answer counts. A part of an upload is cut off and sent again then.
    ///
    /// - Throws: `.cancelled`, and nothing else.
    func attempt(
        _ call: RemoteCall,
        into body: ReadBody? = nil,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) -> Result<HTTPResponse, CallFailure> {
        let place = try await self.enter(urgency, isSmall: call.sharesConnection)
        // Who is seen to go through a tree or a directory may soon have as much under way as there is room for.
        let call = call.first(ofMany: body == nil && !urgency.isWaitedFor)
        let handle = TransferHandle(now: self.retry.clock.now)
        if case .reader(let body) = call.body {
            return try await self.sendPart(call, body.count, handle, urgency, at: place)
        }
        guard call.method == .get else {
            guard let answer = await self.send(call, nil, handle, at: place) else { throw .cancelled }
            return answer
        }
        let second = SecondRequest()
        let id = self.watch.add(kind: call.name, expected: body?.shared.limit, handle, urgency) {
            second.start { self.askAgain(call, body, insteadOf: handle) }
        }
        let first = await self.send(call, body?.shared.first(), handle, at: place)
        self.watch.remove(id, isUsual: first?.isSuccess == true && !handle.isStopped)
        let answer = await self.settle(first, second, body)
        guard let answer else { throw .cancelled }
        return answer
    }

    /// Sends a part, and once more, at once, if it stands still where its peers went on: it may arrive twice then, and in
    /// any order (wire-protocol.md, Upload 2). Cut off, as its body is not for two who read it at once.
    private func sendPart(
        _ call: RemoteCall,
        _ byteCount: UInt64,
        _ handle: TransferHandle,
        _ urgency: RequestUrgency,
        at place: RequestQueue.Place
    ) async throws(RemoteError) -> Result<HTTPResponse, CallFailure> {
        let id = self.watch.add(part: byteCount, handle, urgency) {
            guard self.timeToTurn(.zero) == nil else { return false }
            handle.stop()
            return true
        }
        let first = await self.send(call, nil, handle, at: place)
        self.watch.remove(id, isUsual: first?.isSuccess == true && !handle.isStopped)
        if let first { return first }
        guard handle.isStopped, !Task.isCancelled else { throw .cancelled }
        self.noteRepeated(call)
        let place = try await self.enter(urgency, isSmall: call.sharesConnection)
        let again = TransferHandle(now: self.retry.clock.now)
        guard let second = await self.send(call, nil, again, at: place) else { throw .cancelled }
        return second
    }

    /// Waits for the second request, where there is one and its answer is needed.
    private func settle(_ first: Answer, _ second: SecondRequest, _ body: ReadBody?) async -> Answer {
        guard let running = second.close() else { return first }
        defer { body?.shared.close() }
        if first?.isSuccess == true, body?.shared.isOvertaken != true {
            running.handle.stop()
            return first
        }
        let answer = await withTaskCancellationHandler {
            await running.task.value
        } onCancel: {
            running.handle.stop()
        }
        if body?.shared.isOvertaken == true { return answer }
        return answer?.isSuccess == true ? answer : first ?? answer
    }

    /// Sends a call a second time, on a connection of its own, if there is a place for it now and something is left to
    /// ask for.
    private func askAgain(
        _ call: RemoteCall,
        _ body: ReadBody?,
        insteadOf first: TransferHandle
    ) -> SecondRequest.Running? {
        let lane = body?.shared.second { first.stop() }
        if body != nil, lane == nil { return nil }
        // A server that says it has enough is slow to the others too: it is not asked twice for that.
        guard self.timeToTurn(.zero) == nil, let place = self.queue.tryEnter() else { return nil }
        self.noteRepeated(call)
        var call = body.map { $0.call(lane?.start ?? 0) } ?? call
        call.sharesConnection = false
        let again = call
        let handle = TransferHandle(now: self.retry.clock.now)
        let task = Task {
            let answer = await self.send(again, lane, handle, at: place)
            guard answer?.isSuccess == true else { return answer }
            // An end before what the first one has brought says nothing.
            if let lane, !lane.isAbreast { return nil }
            first.stop()
            return answer
        }
        return SecondRequest.Running(task: task, handle: handle)
    }

    /// Sends one request and gives its place back.
    private func send(
        _ call: RemoteCall,
        _ sink: (any BodySink)?,
        _ handle: TransferHandle,
        at place: RequestQueue.Place
    ) async -> Answer {
        if case .reader = call.body {
            let queue = self.queue
            handle.whenPaused { isPaused in if isPaused { queue.lend() } else { queue.takeBack() } }
        }
        do throws(RemoteError) {
            let result = try await self.sendWithKey(call, sink, handle)
            switch result {
            case .success: self.queue.leave(place, .answered)
            case .failure(let failure): self.queue.leave(place, failure.outcome)
            }
            return result
        } catch {
            self.queue.leave(place, .unknown)
            return nil
        }
    }
}

/// The second request of an attempt, which is started by another task than waits for it.
private final class SecondRequest: Sendable {
    struct Running {
        let task: Task<RemoteClient.Answer, Never>
        let handle: TransferHandle
    }

    private struct State {
        var running: Running?
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Starts it, unless the first one has ended; returns whether it was.
    func start(_ make: () -> Running?) -> Bool {
        self.state.withLock { state in
            guard !state.isClosed else { return false }
            state.running = make()
            return state.running != nil
        }
    }

    /// The first one has ended: none is started from now on.
    func close() -> Running? {
        self.state.withLock { state in
            state.isClosed = true
            return state.running
        }
    }
}

extension Result {
    fileprivate var isSuccess: Bool { if case .success = self { true } else { false } }
}
