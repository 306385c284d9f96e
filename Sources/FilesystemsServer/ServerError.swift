import Hummingbird

/// Why a request is refused: the status, and the one line of text that is the answer's body.
struct ServerError: Error {
    /// The answer's status.
    let status: HTTPResponse.Status
    /// What was wrong, for a person: one line without its end.
    let message: String

    /// The length of a part's body is not that of its range (wire-protocol.md, Upload 2: status 402).
    static let lengthMismatch = HTTPResponse.Status(code: 402, reasonPhrase: "Length Mismatch")

    static func badRequest(_ message: String) -> ServerError {
        ServerError(status: .badRequest, message: message)
    }
    static func forbidden(_ message: String) -> ServerError {
        ServerError(status: .forbidden, message: message)
    }
    static func notFound(_ message: String) -> ServerError {
        ServerError(status: .notFound, message: message)
    }
    static func conflict(_ message: String) -> ServerError {
        ServerError(status: .conflict, message: message)
    }
}

extension ServerError {
    /// The answer to what went wrong on the disk; nothing if it is a fault of ours or of the machine.
    init?(_ error: FolderError) {
        switch error {
        case .missing: self = .notFound("no such file or directory")
        case .parentMissing: self = .badRequest("the parent directory does not exist")
        case .nothingToDelete: self = .badRequest("neither a file nor a directory")
        case .exists: self = .conflict("it exists already")
        case .isDirectory: self = .conflict("a directory has that name")
        case .nameTooLong: self = .badRequest("the path is too long")
        case .tooLarge: self = .badRequest("the server's disk cannot hold a file of that size")
        case .escapes: self = .forbidden("the path leaves the filesystem")
        case .noSpace:
            self.init(
                status: HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"),
                message: "the server's disk is full"
            )
        case .system: return nil
        }
    }

    /// The answer to what went wrong with an upload.
    init(_ error: UploadError) {
        switch error {
        case .unknown: self = .notFound("no such upload of this file")
        case .outsideFile(let size): self = .badRequest("the range lies outside the file's \(size) bytes")
        case .lengthMismatch(let expected):
            self.init(status: Self.lengthMismatch, message: "the body is not the range's \(expected) bytes")
        case .incomplete(let gap):
            self = .badRequest("bytes \(gap.lowerBound)-\(gap.upperBound) have not arrived")
        case .finishing: self = .conflict("the upload is being completed")
        case .tooMany: self.init(status: .serviceUnavailable, message: "too many uploads are open")
        }
    }

    /// The answer to what the catalogue refused.
    init(_ error: CatalogueError) {
        switch error {
        case .nameTaken(let name): self = .conflict("there is a \"\(name)\" already")
        case .keyTaken: self = .conflict("that key is in use already")
        case .alreadyShared: self = .conflict("it is shared with that user already")
        case .noSuchUser: self = .badRequest("there is no such user")
        case .tooManyFilesystems: self = .forbidden("you own as many filesystems as anybody may")
        case .noSuchFilesystem: self = .notFound("no such filesystem")
        }
    }
}
