import Primitives
import Synchronization

@testable import VFS

/// Collects how reads ended.
final class Answers: Sendable {
    private let errors = Mutex<[FileSystemError?]>([])

    /// What each ended with, nothing for a success.
    var all: [FileSystemError?] { self.errors.withLock { $0 } }

    @Sendable func take(_ result: Result<[ByteSlice], FileSystemError>) {
        self.errors.withLock { errors in
            if case .failure(let error) = result { errors.append(error) } else { errors.append(nil) }
        }
    }
}
