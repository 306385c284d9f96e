import RemoteAPI
import SystemPackage

extension FileSystemError {
    /// What a program sees. No `default`: a new case does not compile before it is thought of.
    public var errno: Errno {
        switch self {
        case .noSuchFile: .noSuchFileOrDirectory
        case .exists: .fileExists
        case .isDirectory: .isDirectory
        case .notDirectory: .notDirectory
        case .notEmpty: .directoryNotEmpty
        case .nameTooLong: .fileNameTooLong
        case .unrepresentableName: .illegalByteSequence
        case .invalidArgument: .invalidArgument
        case .notPermitted: .notPermitted
        case .notSupported: .notSupportedOnSocket
        case .crossesDevices: .improperLink
        case .fileTooLarge: .fileTooLarge
        case .badHandle: .badFileDescriptor
        case .stale: .staleNFSFileHandle
        case .changedOnServer: .ioError
        case .interrupted: .interrupted
        case .remote(let error): error.errno
        case .local(let errno): errno
        }
    }
}

extension RemoteError {
    /// What a program sees when a call to the service fails that is not about a name's existence.
    ///
    /// A fault of the server is EIO: programs read EAGAIN and EINTR as "try again". A 404 is ENOENT only where a listing
    /// proved it, and never gets here then.
    fileprivate var errno: Errno {
        switch self {
        case .unauthorized, .forbidden: .permissionDenied
        case .outOfSpace: .noSpace
        case .timedOut: .timedOut
        case .cancelled: .interrupted
        case .alreadyExists: .fileExists
        case .notFound, .changedKind, .rejected, .unavailable, .failed, .malformedAnswer, .unreadableBody:
            .ioError
        }
    }
}
