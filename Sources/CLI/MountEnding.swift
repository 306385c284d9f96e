import Logging
import Synchronization

/// A mount's end, once it has begun: what it waits for, of which the log is told now and then.
final class MountEnding: Sendable {
    private struct State {
        let uploads: UploadsLeft
        let telling: Task<Void, Never>
    }

    private static let interval = Duration.seconds(10)

    private let state = Mutex<State?>(nil)

    /// Begins it.
    ///
    /// - Parameters:
    ///   - uploads: What it waits for.
    ///   - logger: Told of that.
    /// - Returns: Whether it had not begun yet.
    func begin(_ uploads: UploadsLeft, logger: Logger) -> Bool {
        self.state.withLock { state in
            guard state == nil else { return false }
            let telling = Task {
                var last: String?
                while !Task.isCancelled {
                    if let text = uploads.text, text != last {
                        logger.info("ending: \(text)")
                        last = text
                    }
                    try? await Task.sleep(for: Self.interval)
                }
            }
            state = State(uploads: uploads, telling: telling)
            return true
        }
    }

    /// What it waits for; nothing before it has begun, and once all is uploaded.
    @Sendable func waiting() -> String? { self.state.withLock(\.self)?.uploads.text }

    /// Nothing more is waited for.
    func finish() { self.state.withLock(\.self)?.telling.cancel() }
}
