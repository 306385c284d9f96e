import Glibc
import Synchronization

/// A disk that fails to take what was written, and says so to the next who ask, or who sync.
final class FailingDisk: Sendable {
    /// So many are told.
    let failures = Atomic(0)
    private let error: Int32

    init(_ error: Int32 = EIO) { self.error = error }

    var check: @Sendable (Int32) -> Int32 {
        { _ in
            guard self.failures.load(ordering: .relaxed) > 0 else { return 0 }
            self.failures.subtract(1, ordering: .relaxed)
            errno = self.error
            return -1
        }
    }
}
