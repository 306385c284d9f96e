// The JSON bodies of the API, field for field (filesystems-api.txt), in both spellings that exist.

/// One filesystem: an element of `GET /filesystems`, and the answer to `POST /filesystems`.
public struct FilesystemBody: Codable, Hashable, Sendable {
    /// The server's id.
    public var filesystemID: String
    /// The name its owner gave it.
    public var filesystemName: String

    private enum CodingKeys: String, CodingKey {
        case filesystemID = "filesystem_id"
        case filesystemName = "filesystem_name"
    }

    /// Makes a body.
    public init(filesystemID: String, filesystemName: String) {
        self.filesystemID = filesystemID
        self.filesystemName = filesystemName
    }
}

/// The request of `POST /filesystems`.
public struct CreateFilesystemBody: Codable, Sendable {
    /// The name to give.
    public var filesystemName: String

    private enum CodingKeys: String, CodingKey {
        case filesystemName = "filesystem_name"
    }

    /// Makes a body.
    public init(filesystemName: String) {
        self.filesystemName = filesystemName
    }
}

/// The request of `POST /filesystems/<id>/share`.
public struct ShareBody: Codable, Sendable {
    /// The id (a UUID) of the user who may use the filesystem from now on.
    public var grantee: String

    /// Makes a body.
    public init(grantee: String) {
        self.grantee = grantee
    }
}

/// The answer of `GET …/list`: bare names, no sizes, no times.
public struct ListingBody: Codable, Sendable {
    /// Names of the sub-directories.
    public var directories: [String]
    /// Names of the files.
    public var files: [String]

    /// Makes a body.
    public init(directories: [String], files: [String]) {
        self.directories = directories
        self.files = files
    }
}

/// The answer of `GET …/files/<path>?init=true`.
public struct FileInfoBody: Codable, Sendable {
    /// The file's size in bytes.
    public var size: UInt64
    /// A token that nothing takes back; the deployed service pins no version to it.
    public var downloadID: String?

    private enum CodingKeys: String, CodingKey {
        case size
        case downloadID = "download_id"
    }

    /// Makes a body.
    public init(size: UInt64, downloadID: String?) {
        self.size = size
        self.downloadID = downloadID
    }

    /// Reads a size, and a `download_id` that is text; of any other kind it is as good as none, as nothing needs it.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.size = try values.decode(UInt64.self, forKey: .size)
        self.downloadID = try? values.decode(String.self, forKey: .downloadID)
    }
}

/// The answer to the start of an upload.
public struct UploadStartedBody: Codable, Sendable {
    /// The upload's id.
    public var uploadID: String

    private enum CodingKeys: String, CodingKey {
        case uploadID = "uploadId"
        // wire-protocol.md, Upload 1: an early version of the deployed service.
        case earlyUploadID = "upload_id"
    }

    /// Makes a body.
    public init(uploadID: String) {
        self.uploadID = uploadID
    }

    /// Reads `uploadId`, or the early `upload_id`.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.uploadID =
            try values.decodeIfPresent(String.self, forKey: .uploadID)
            ?? values.decode(String.self, forKey: .earlyUploadID)
    }

    /// Writes `uploadId`.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(self.uploadID, forKey: .uploadID)
    }
}

/// The request of `POST …/files/<path>`: the start of an upload, or its end.
public enum UploadRequestBody: Codable, Sendable {
    /// An upload of so many bytes begins.
    case begin(size: UInt64)
    /// The upload ends: its file appears, or (`complete` false) it is abandoned.
    case finish(uploadID: String, complete: Bool)

    private enum CodingKeys: String, CodingKey {
        case size
        case complete
        case uploadID = "uploadId"
        case earlyUploadID = "upload_id"
    }

    /// Reads either body; `complete` may be a boolean or the text of one (wire-protocol.md, Upload 3).
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let uploadID =
            try values.decodeIfPresent(String.self, forKey: .uploadID)
            ?? values.decodeIfPresent(String.self, forKey: .earlyUploadID)
        guard let uploadID else {
            self = .begin(size: try values.decode(UInt64.self, forKey: .size))
            return
        }
        if let complete = try? values.decode(Bool.self, forKey: .complete) {
            self = .finish(uploadID: uploadID, complete: complete)
            return
        }
        switch try values.decode(String.self, forKey: .complete).lowercased() {
        case "true": self = .finish(uploadID: uploadID, complete: true)
        case "false": self = .finish(uploadID: uploadID, complete: false)
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .complete,
                in: values,
                debugDescription: "complete is neither true nor false"
            )
        }
    }

    /// Writes the body; the end of an upload carries both spellings of the id, as both exist in the world.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .begin(let size):
            try values.encode(size, forKey: .size)
        case .finish(let uploadID, let complete):
            try values.encode(uploadID, forKey: .uploadID)
            try values.encode(uploadID, forKey: .earlyUploadID)
            try values.encode(complete, forKey: .complete)
        }
    }
}
