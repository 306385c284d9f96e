import BlockCaching
import RemoteAPI
import SystemPackage

/// What an operation of the filesystem ends with when it does not succeed.
public enum FileSystemError: Error, Hashable, Sendable {
    /// There is no such name.
    case noSuchFile
    /// The name is taken.
    case exists
    /// A directory where a file is needed.
    case isDirectory
    /// A file where a directory is needed.
    case notDirectory
    /// A directory that must be empty is not.
    case notEmpty
    /// A name of over 255 bytes.
    case nameTooLong
    /// A name that the API cannot carry: not UTF-8.
    case unrepresentableName
    /// An argument makes no sense, such as moving a directory into itself.
    case invalidArgument
    /// Something that this filesystem does not have, such as links.
    case notPermitted
    /// A way of doing something that this filesystem does not have, such as punching holes.
    case notSupported
    /// More than a rename moves: the program is to copy it.
    case crossesDevices
    /// A file beyond the largest size.
    case fileTooLarge
    /// A handle that is not open, or not for that.
    case badHandle
    /// The file under an open handle is gone from the service.
    case stale
    /// The file changed on the service again and again while it was read.
    case changedOnServer
    /// A signal ended the wait.
    case interrupted
    /// The service failed.
    case remote(RemoteError)
    /// The local disk failed.
    case local(Errno)
}

extension FileSystemError: CustomStringConvertible {
    /// One line for a log or a person.
    public var description: String {
        switch self {
        case .noSuchFile: "there is no such name"
        case .exists: "the name is taken"
        case .isDirectory: "it is a directory"
        case .notDirectory: "it is not a directory"
        case .notEmpty: "the directory is not empty"
        case .nameTooLong: "the name has over 255 bytes"
        case .unrepresentableName: "the name is not UTF-8, which the API cannot carry"
        case .invalidArgument: "it makes no sense"
        case .notPermitted: "this filesystem has no such thing"
        case .notSupported: "this filesystem cannot do that"
        case .crossesDevices: "it is too large to be renamed, and has to be copied"
        case .fileTooLarge: "the file would be too large"
        case .badHandle: "the file is not open for that"
        case .stale: "the file, or its directory, is gone from the server"
        case .changedOnServer: "the file changed on the server meanwhile"
        case .interrupted: "interrupted"
        case .remote(let error): error.description
        case .local(let error): "the local disk: \(error)"
        }
    }
}

extension FileSystemError {
    /// Whether what failed may succeed later with nobody doing anything about it.
    var mayPass: Bool {
        switch self {
        case .remote(.unavailable), .remote(.failed), .remote(.timedOut), .remote(.unauthorized),
            .remote(.malformedAnswer), .interrupted:
            true
        default: false
        }
    }

    /// Whether nothing came from the service itself, so that whatever else it is asked may fare the same.
    var isSilence: Bool {
        switch self {
        case .remote(.unavailable), .remote(.timedOut): true
        default: false
        }
    }

    init(_ error: BlockError) {
        switch error {
        case .remote(let error): self = .remote(error)
        case .changedOnServer: self = .changedOnServer
        case .gone: self = .stale
        case .cancelled: self = .interrupted
        }
    }

    /// Of a call that is about names: the service's 404 was confirmed by a listing there.
    init(_ error: RemoteError) {
        switch error {
        case .notFound: self = .noSuchFile
        case .alreadyExists: self = .exists
        case .cancelled: self = .interrupted
        default: self = .remote(error)
        }
    }
}
