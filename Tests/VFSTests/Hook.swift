import Synchronization

/// Something that a test has done in the middle of what it tests, by what is called there anyway.
final class Hook: Sendable {
    private let action = Mutex<(@Sendable () -> Void)?>(nil)

    /// Has it done from now on, or not any more.
    func set(_ action: (@Sendable () -> Void)?) { self.action.withLock { $0 = action } }

    /// Does it.
    func run() { self.action.withLock { $0 }?() }

    /// Does it, and not again.
    func runOnce() {
        let action = self.action.withLock { action in
            defer { action = nil }
            return action
        }
        action?()
    }
}
