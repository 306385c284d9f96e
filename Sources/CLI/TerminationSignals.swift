import Glibc
import Synchronization

/// The signals that ask a driver to end: taken by a thread of their own, so that nothing is cut short by one.
///
/// To be made before any other thread is started, as those inherit what is held back.
final class TerminationSignals: Sendable {
    private let action = Mutex<(@Sendable () -> Void)?>(nil)

    /// Holds the signals back and begins to wait for them. Until there is an action, the first one ends the process.
    init() {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let waited = signals
        DetachedThread.start { [self] in
            var signals = waited
            while true {
                var signal: Int32 = 0
                guard sigwait(&signals, &signal) == 0 else { continue }
                guard let action = self.action.withLock({ $0 }) else {
                    // Nothing is mounted yet.
                    _exit(ExitStatus.mountFailure.rawValue)
                }
                action()
            }
        }
    }

    /// Says what the signals do from now on; each one does it again.
    func handle(_ action: @escaping @Sendable () -> Void) {
        self.action.withLock { $0 = action }
    }
}
