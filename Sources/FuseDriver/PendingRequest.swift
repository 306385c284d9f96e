import CFuse
import Synchronization
import SystemPackage
import VFS

/// A request of the kernel that cannot be answered at once; it is answered exactly once.
///
/// Whoever comes first answers: the work that was begun for it, or a signal that ends its caller's wait. Dropped
/// unanswered, it answers `EIO`.
final class PendingRequest: Sendable {
    /// A request's pointer, to be handed between threads.
    ///
    /// Unchecked: libfuse lets any thread answer, and only whoever took it out of the state below does.
    private struct Request: @unchecked Sendable {
        let pointer: fuse_req_t
    }

    private struct State {
        var request: Request?
        var giveUp: (@Sendable () -> Void)?
    }

    /// The thread that waits, in our own process-id namespace; 0 if it is in none that we see.
    let thread: Int32
    private let id: UInt64
    private let interrupts: Interrupts
    private let state: Mutex<State>

    /// Takes a request over from the callback that libfuse handed it to.
    init(_ request: fuse_req_t, _ interrupts: Interrupts) {
        self.thread = fuse_req_ctx(request)?.pointee.pid ?? 0
        self.interrupts = interrupts
        self.id = interrupts.makeID()
        self.state = Mutex(State(request: Request(pointer: request)))
    }

    deinit {
        if let request = self.state.withLock({ $0.request }) { fuse_reply_err(request.pointer, EIO) }
    }

    /// Whether nobody has answered yet.
    var isWaiting: Bool { self.state.withLock { $0.request != nil } }

    /// Answers, unless somebody did.
    ///
    /// - Parameter reply: Sends the answer and returns 0, or an error if the kernel did not take it.
    /// - Returns: Whether the kernel took this answer. If not, what was counted for it must be uncounted.
    func answer(_ reply: (fuse_req_t) -> Int32) -> Bool {
        let request = self.state.withLock { state in
            defer {
                state.request = nil
                state.giveUp = nil
            }
            return state.request
        }
        guard let request else { return false }
        self.interrupts.remove(self.id)
        return reply(request.pointer) == 0
    }

    /// Answers with an error, unless somebody answered.
    func fail(_ error: Errno) {
        _ = self.answer { fuse_reply_err($0, error.rawValue) }
    }

    /// Lets a signal end the wait from now on.
    ///
    /// - Parameter giveUp: Called after the caller was told `EINTR`, to stop work that nobody else wants.
    func allowInterruption(_ giveUp: @escaping @Sendable () -> Void) {
        self.interrupts.add(self, id: self.id)
        let isWaiting = self.state.withLock { state in
            guard let request = state.request else { return false }
            state.giveUp = giveUp
            // Under the lock, so that nobody answers, and frees it, meanwhile. libfuse may call back from within:
            // that only starts a task.
            let id = UnsafeMutableRawPointer(bitPattern: UInt(self.id))
            fuse_req_interrupt_func(request.pointer, interruptRequest, id)
            return true
        }
        if !isWaiting { self.interrupts.remove(self.id) }
    }

    /// Ends the wait with `EINTR`.
    func interrupt() {
        let giveUp = self.state.withLock { $0.giveUp }
        if self.answer({ fuse_reply_err($0, EINTR) }) { giveUp?() }
    }
}

/// The requests whose wait a signal may end.
///
/// libfuse hands an interrupt callback a pointer that may outlive the request, so that it is a number to look up here.
final class Interrupts: Sendable {
    private struct State {
        var nextID: UInt64 = 1
        var waiting: [UInt64: PendingRequest] = [:]
    }

    private let state = Mutex(State())

    func makeID() -> UInt64 {
        self.state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
    }

    func add(_ request: PendingRequest, id: UInt64) {
        self.state.withLock { $0.waiting[id] = request }
    }

    func remove(_ id: UInt64) {
        // Taken out of the lock before it goes: its end may answer it.
        let removed = self.state.withLock { $0.waiting.removeValue(forKey: id) }
        _ = removed
    }

    /// The kernel says that a signal came to a caller (FUSE_INTERRUPT).
    ///
    /// Also a timer's or a child's comes so, with which programs such as git do not expect `EINTR` from stat or close;
    /// the wait ends only for signals that are to end something. The kernel tells of the first signal alone, so that
    /// the later ones are looked for until the request is answered.
    func signalArrived(_ id: UInt64) {
        guard let request = self.state.withLock({ $0.waiting[id] }) else { return }
        Task { [weak request] in
            while let request, request.isWaiting {
                if ProcessStatus(thread: request.thread)?.isAskedToEnd ?? true { return request.interrupt() }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }
}

/// What libfuse calls for an interrupted request, holding locks of its own.
private func interruptRequest(_ request: fuse_req_t?, _ id: UnsafeMutableRawPointer?) {
    guard let request, let driver = FuseOperations.driver(of: request) else { return }
    driver.interrupts.signalArrived(UInt64(UInt(bitPattern: id)))
}
