/// A line of `tetherfs list`.
struct MountListing: Encodable, Equatable {
    /// Where it is mounted.
    var mountPoint: String
    /// What is mounted.
    var filesystem: String
    /// The server's URL, if it can be told.
    var server: String?
    /// `answers`, or what is wrong: `server-silent`, `key-refused`, `dead`, `silent`, `unknown`.
    var state: State
    /// Why its driver cannot be asked, if that is neither dead nor silent nor another user's.
    var reason: String?
    /// The files that are not uploaded yet, if it can be told.
    var pendingFiles: Int?
    /// Their bytes.
    var pendingBytes: UInt64?
    /// How many files' last upload failed.
    var failedFiles: Int?
    /// The number of the user who mounted it.
    var user: UInt32?

    /// How a mount is.
    enum State: String, Encodable {
        /// The driver answers, and so does its server.
        case answers
        /// The driver answers, its server does not.
        case serverSilent = "server-silent"
        /// The driver answers, and its server does not accept the key.
        case keyRefused = "key-refused"
        /// The driver is gone.
        case dead
        /// The driver does not answer.
        case silent
        /// It is not for this user to know, or its driver cannot be asked.
        case unknown
    }

    /// Takes a mount and what came of asking about it.
    init(_ mount: MountTable.Entry, _ outcome: MountInquiry.Outcome) {
        self.mountPoint = mount.mountPoint
        self.filesystem = mount.source
        self.user = mount.userID
        switch outcome {
        case .status(let status):
            let server = status.server
            self.server = server.url
            self.state =
                server.silentSince != nil ? .serverSilent : server.isKeyRefused ? .keyRefused : .answers
            self.pendingFiles = status.uploads.unsent.files
            self.pendingBytes = status.uploads.unsent.bytes
            self.failedFiles = status.uploads.failedCount
        case .dead: self.state = .dead
        case .silent: self.state = .silent
        case .hidden: self.state = .unknown
        case .failed(let reason):
            self.state = .unknown
            self.reason = reason
        }
    }

    /// The titles of ``cells``.
    static let titles = ["MOUNTPOINT", "FILESYSTEM", "SERVER", "STATE", "PENDING"]

    /// The same for a person.
    var cells: [String] {
        let pending = self.pendingFiles.map { files in
            guard files > 0 else { return "0" }
            let failed = self.failedFiles.map { $0 > 0 ? ", \($0) failed" : "" } ?? ""
            return "\(files) (\(ByteCountText.short(self.pendingBytes ?? 0))\(failed))"
        }
        let isAnothers = self.state == .unknown && self.reason == nil
        let state = isAnothers ? "user \(self.user.map(String.init) ?? "?")'s" : self.state.rawValue
        return [self.mountPoint, self.filesystem, self.server ?? "-", state, pending ?? "-"].map {
            Printable.text($0)
        }
    }
}
