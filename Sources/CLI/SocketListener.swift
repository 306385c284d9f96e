import Dispatch
import Glibc
import Synchronization

/// A socket that listens, and whose connections are served on threads of their own, a few at once.
final class SocketListener: Sendable {
    private let places: DispatchSemaphore
    private let isPatient: Bool
    private let admits: @Sendable (Int32) -> Bool
    private let serve: @Sendable (Int32) -> Void
    /// The descriptor, until it is stopped.
    private let listener: Mutex<Int32?>

    /// Begins to take connections.
    ///
    /// - Parameters:
    ///   - descriptor: The socket, which listens already, and is closed in the end.
    ///   - maximumCount: How many may be connected at once.
    ///   - isPatient: Whether one more waits for a place, each being served for a short time only; else it is turned
    ///     away.
    ///   - admits: Whether a connection is one to serve.
    ///   - serve: Serves one, and closes it.
    init(
        _ descriptor: Int32,
        maximumCount: Int,
        isPatient: Bool = false,
        admits: @escaping @Sendable (Int32) -> Bool = { _ in true },
        serve: @escaping @Sendable (Int32) -> Void
    ) {
        self.places = DispatchSemaphore(value: maximumCount)
        self.isPatient = isPatient
        self.admits = admits
        self.serve = serve
        self.listener = Mutex(descriptor)
        DetachedThread.start { [self] in self.accept(from: descriptor) }
    }

    /// Takes no more connections. Who is connected stays so until served, or until this process ends.
    ///
    /// - Returns: Whether it took some until now.
    @discardableResult
    func stop() -> Bool {
        let listener = self.listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        guard let listener else { return false }
        // Wakes the thread that waits in accept, which closes it.
        shutdown(listener, Int32(SHUT_RDWR))
        return true
    }

    private func accept(from listener: Int32) {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            if connection < 0 {
                let code = errno
                guard self.isListening else { break }
                // Out of descriptors or memory, or a peer that was quicker: none of them is for ever.
                if code != EINTR && code != ECONNABORTED { usleep(100_000) }
                continue
            }
            Descriptor.closeOnExec(connection)
            guard self.isListening, self.admits(connection), self.enter() else {
                close(connection)
                continue
            }
            let isServed = DetachedThread.start { [self] in
                self.serve(connection)
                self.leave()
            }
            if !isServed {
                close(connection)
                self.leave()
            }
        }
        close(listener)
    }

    private var isListening: Bool {
        self.listener.withLock { $0 != nil }
    }

    private func enter() -> Bool {
        self.places.wait(timeout: self.isPatient ? .distantFuture : .now()) == .success
    }

    private func leave() { self.places.signal() }
}
