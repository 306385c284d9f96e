import Primitives
import Synchronization

/// The files whose bytes are to be uploaded in the background, and the tasks that do it.
final class UploadQueue: Sendable {
    /// Uploads what waits of a file; `isForced` also where no close or fsync covers all of it.
    typealias Upload = @Sendable (FileContent, _ isForced: Bool) async -> UploadSchedule.Outcome

    private struct State {
        var schedule = UploadSchedule()
        var contents: [InodeNumber: FileContent] = [:]
        /// Those that somebody waits for, whatever their writers do.
        var forced: Set<InodeNumber> = []
        var tasks: [InodeNumber: Task<Void, Never>] = [:]
        var waits: [Wait] = []
        /// Those who wait until no more files wait here than their limit.
        var pauses: [(limit: Int, isOver: OneShot<Void>)] = []
        /// How many wait for the upload of one file.
        var watcherCount = 0
        /// Files that are gone for good, whose upload runs still: it is the last one.
        var gone: Set<InodeNumber> = []
        /// How many files that somebody waits for the service failed at, since it took one.
        var failedCount = 0
        /// Those that wait for the end of what moves a directory above them.
        var heldUp: Set<InodeNumber> = []
        /// How often such a thing has ended.
        var openingCount = 0
        /// The moment for which a task sleeps.
        var alarm: ContinuousClock.Instant?
        var upload: Upload?

        /// Takes a file out, and those who wait for no other any more.
        mutating func drop(_ inode: InodeNumber) -> [OneShot<Void>] {
            self.contents[inode] = nil
            self.forced.remove(inode)
            self.heldUp.remove(inode)
            return self.endWaits(for: [inode]) + self.takePauses()
        }

        /// Takes those who wait for no others than these files.
        mutating func endWaits(for files: Set<InodeNumber>) -> [OneShot<Void>] {
            for index in self.waits.indices { self.waits[index].files.subtract(files) }
            defer { self.waits.removeAll(where: \.files.isEmpty) }
            return self.waits.filter(\.files.isEmpty).map(\.isOver)
        }

        /// Takes those who wait until there are so few files as there are.
        mutating func takePauses() -> [OneShot<Void>] {
            let count = self.contents.count
            defer { self.pauses.removeAll { count <= $0.limit } }
            return self.pauses.filter { count <= $0.limit }.map { $0.isOver }
        }
    }

    /// Somebody who waits until each of some files was tried once.
    private struct Wait {
        var files: Set<InodeNumber>
        let isOver: OneShot<Void>
    }

    /// What was so when an upload was started.
    private struct Start {
        let isForced: Bool
        let openingCount: Int
    }

    private let state = Mutex(State())

    /// So often no answer in a row ends a wait: what is left is not tried one after another, each up to its deadline.
    private static let silenceLimit = 3
    /// So many files at which the service failed do, too: as many as are uploaded at once.
    private static let failureLimit = UploadSchedule.capacity

    /// Says how a file is uploaded, before the first is added.
    func begin(_ upload: @escaping Upload) {
        self.state.withLock { $0.upload = upload }
    }

    /// Uploads nothing any more.
    func end() {
        let (tasks, pauses) = self.state.withLock { state in
            state.upload = nil
            defer { state.pauses = [] }
            return (Array(state.tasks.values), state.pauses)
        }
        for task in tasks { task.cancel() }
        for pause in pauses { pause.isOver.resolve(()) }
    }

    /// Adds a file, or says that it has something new to upload.
    ///
    /// - Parameters:
    ///   - content: Whose bytes.
    ///   - delay: How long it waits at least.
    ///   - isRenewed: Whether it waits so long also where it would have gone before.
    /// - Returns: Whether it was not there.
    @discardableResult
    func add(_ content: FileContent, after delay: Duration = .zero, isRenewed: Bool = false) -> Bool {
        let now = ContinuousClock.now
        let byteCount = content.staged?.size ?? 0
        return self.state.withLock { state in
            let isNew = state.contents.updateValue(content, forKey: content.inode) == nil
            state.schedule.add(
                content.inode,
                byteCount: byteCount,
                due: now + delay,
                now: now,
                isRenewed: isRenewed
            )
            self.startDue(&state)
            return isNew
        }
    }

    /// Stops the upload of a file that runs, as its bytes are not wanted any more; it is tried again soon, for the case
    /// that they are. May be called with a lock of the content held.
    func stop(_ inode: InodeNumber) {
        self.state.withLock { $0.tasks[inode] }?.cancel()
    }

    /// Has a file go now that waits for its time, as there may be nothing to upload of it any more.
    func hurry(_ inode: InodeNumber) {
        self.state.withLock { state in
            state.schedule.hurry([inode])
            self.startDue(&state)
        }
    }

    /// Nothing of a file is to be uploaded any more, for good: nobody waits for it.
    func forget(_ inode: InodeNumber) {
        let over = self.state.withLock { state in
            guard state.tasks[inode] == nil else {
                state.gone.insert(inode)
                return [OneShot<Void>]()
            }
            state.schedule.remove(inode)
            return state.drop(inode)
        }
        for isOver in over { isOver.resolve(()) }
    }

    /// Waits while more files than a limit wait here.
    ///
    /// - Parameters:
    ///   - limit: How many may.
    ///   - longest: How long it waits at most; also ended by cancellation.
    func waitForRoom(limit: Int, atMost longest: Duration) async {
        let isOver = OneShot<Void>()
        let mustWait = self.state.withLock { state in
            guard state.upload != nil, state.contents.count > limit else { return false }
            state.pauses.append((limit, isOver))
            return true
        }
        guard mustWait else { return }
        let alarm = Task {
            try? await Task.sleep(for: longest)
            isOver.resolve(())
        }
        _ = await isOver.wait()
        alarm.cancel()
        self.state.withLock { $0.pauses.removeAll { $0.isOver === isOver } }
    }

    /// Waits until the upload of a file that runs is over, if the service has answered so far.
    ///
    /// - Parameters:
    ///   - inode: Whose.
    ///   - longest: How long it waits at most; also ended by cancellation.
    /// - Returns: Whether there was something to wait for.
    func waitForUpload(of inode: InodeNumber, atMost longest: Duration) async -> Bool {
        let running: Task<Void, Never>? = self.state.withLock { state in
            guard state.schedule.failuresInARow == 0, let running = state.tasks[inode] else { return nil }
            state.watcherCount += 1
            return running
        }
        guard let running else { return false }
        defer { self.state.withLock { $0.watcherCount -= 1 } }
        let isOver = OneShot<Void>()
        let alarm = Task {
            try? await Task.sleep(for: longest)
            isOver.resolve(())
        }
        Task {
            await running.value
            isOver.resolve(())
        }
        _ = await isOver.wait()
        alarm.cancel()
        return true
    }

    /// How many wait for others to be uploaded.
    var pausedCount: Int { self.state.withLock { $0.pauses.count } }

    /// How many wait for the upload of one file.
    var watcherCount: Int { self.state.withLock { $0.watcherCount } }

    /// How many are being uploaded now.
    var runningCount: Int { self.state.withLock { $0.tasks.count } }

    /// The files that are being uploaded now.
    var running: Set<InodeNumber> { self.state.withLock { Set($0.tasks.keys) } }

    /// Uploads files now, without pauses or delays, and waits until each was tried; or until the service seems to be
    /// away, or the task is cancelled.
    ///
    /// - Parameters:
    ///   - contents: Whose bytes.
    ///   - isHeldUp: Whether something keeps one from being uploaded, so that it is not waited for: see
    ///     ``endWaits(for:)``.
    func settle(_ contents: [FileContent], unless isHeldUp: (FileContent) -> Bool = { _ in false }) async {
        let contents = contents.filter { !isHeldUp($0) }
        guard !contents.isEmpty else { return }
        let isOver = OneShot<Void>()
        let now = ContinuousClock.now
        let sizes = contents.sorted { $0.inode < $1.inode }.map { ($0, $0.staged?.size ?? 0) }
        self.state.withLock { state in
            let files = Set(contents.map(\.inode))
            // What waits already is older than what was not to go yet.
            state.schedule.hurry()
            for (content, byteCount) in sizes {
                state.contents[content.inode] = content
                state.schedule.add(
                    content.inode,
                    byteCount: byteCount,
                    due: now,
                    now: now
                )
            }
            state.forced.formUnion(files)
            state.waits.append(Wait(files: files, isOver: isOver))
            state.failedCount = 0
            self.startDue(&state)
        }
        // What came to be held up before anybody was known to wait.
        self.endWaits(for: Set(contents.filter(isHeldUp).map(\.inode)))
        _ = await isOver.wait()
    }

    /// Nobody waits for some files any more: what keeps them from being uploaded may take long.
    func endWaits(for files: Set<InodeNumber>) {
        let over = self.state.withLock { $0.endWaits(for: files) }
        for isOver in over { isOver.resolve(()) }
    }

    /// What moved a directory has ended: what waits below it may go.
    func didOpenGates() {
        self.state.withLock { state in
            state.openingCount += 1
            state.schedule.hurry(state.heldUp)
            state.heldUp = []
            self.startDue(&state)
        }
    }

    private func startDue(_ state: inout State) {
        guard let upload = state.upload else { return }
        while true {
            switch state.schedule.next(now: .now) {
            case .idle: return
            case .wait(let moment): return self.setAlarm(&state, moment)
            case .start(let inode):
                guard let content = state.contents[inode] else {
                    state.schedule.end(inode, .skipped, now: .now)
                    continue
                }
                let start = Start(isForced: state.forced.contains(inode), openingCount: state.openingCount)
                state.tasks[inode] = Task { [self] in
                    self.didEnd(inode, await upload(content, start.isForced), start)
                }
            }
        }
    }

    private func didEnd(_ inode: InodeNumber, _ outcome: UploadSchedule.Outcome, _ start: Start) {
        // Only what began after somebody came to wait is what they wait for.
        let isTried = start.isForced && outcome != .stopped && outcome != .heldUp
        let over = self.state.withLock { state in
            state.tasks[inode] = nil
            let isStill = state.schedule.end(
                inode,
                outcome,
                now: .now,
                isWaitedFor: !start.isForced && state.forced.contains(inode)
            )
            if isTried { state.forced.remove(inode) }
            switch outcome {
            case .done, .refused: state.failedCount = 0
            case .failedForNow:
                if isTried { state.failedCount += 1 }
                // It may be this file's failure alone, and those who wait for others are not to wait for that.
                if !state.waits.isEmpty { state.schedule.goOn() }
            case .heldUp where state.openingCount == start.openingCount: state.heldUp.insert(inode)
            case .heldUp: state.schedule.hurry([inode])
            case .skipped, .outrun, .stopped, .unanswered: break
            }
            var over: [OneShot<Void>] = []
            if state.schedule.silencesInARow >= Self.silenceLimit || state.failedCount >= Self.failureLimit {
                over = state.waits.map(\.isOver)
                state.waits = []
            } else if isTried {
                over = state.endWaits(for: [inode])
            }
            if state.gone.remove(inode) != nil {
                state.schedule.remove(inode)
                over += state.drop(inode)
            } else if !isStill {
                state.contents[inode] = nil
                over += state.takePauses()
            }
            self.startDue(&state)
            return over
        }
        for isOver in over { isOver.resolve(()) }
    }

    private func setAlarm(_ state: inout State, _ moment: ContinuousClock.Instant) {
        guard state.alarm.map({ moment < $0 }) ?? true else { return }
        state.alarm = moment
        Task { [weak self] in
            try? await Task.sleep(until: moment)
            self?.state.withLock { state in
                if state.alarm == moment { state.alarm = nil }
                self?.startDue(&state)
            }
        }
    }
}
