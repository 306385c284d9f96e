import Glibc
import RemoteAPI

/// Why one file or directory was not copied.
enum CopyFailure: Error {
    /// What the service said.
    case service(RemoteError)
    /// What the kernel said of a local path.
    case disk(String, SystemError)
    /// The source is not as it was when its copy was begun.
    case changed
    /// Anything else, in words.
    case refused(String)

    /// Whether all other files would fail in the same way.
    var isForAll: Bool {
        switch self {
        case .service(.unauthorized), .service(.outOfSpace): true
        case .disk(_, let error): error.code == ENOSPC || error.code == EDQUOT
        default: false
        }
    }

    /// Whether the server could not be reached, had no answer, or failed.
    var isSilence: Bool {
        switch self {
        case .service(.unavailable), .service(.failed), .service(.timedOut): true
        default: false
        }
    }

    /// Whether somebody stopped it.
    var isCancelled: Bool { if case .service(.cancelled) = self { true } else { false } }
}
