import FoundationEssentials

// What is said on the control socket: one JSON object a line, each way. A connection takes one request after another;
// until the reply the driver may send progress, and does send something every few seconds.

/// What is asked of a running driver.
struct ControlRequest: Codable, Sendable, Equatable {
    /// The kinds.
    enum Command: String, Codable, Sendable {
        /// Wait until everything is uploaded.
        case drain
        /// Say how it goes.
        case status
        /// Log from another level on, if one is given, and say which one it is.
        case logLevel = "log-level"
    }

    /// What to do.
    var command: Command
    /// The level.
    var level: String?

    /// Asks to wait until everything is uploaded.
    static let drain = ControlRequest(command: .drain)
    /// Asks how it goes.
    static let status = ControlRequest(command: .status)
}

/// What the driver answers.
struct ControlReply: Codable, Sendable, Equatable {
    /// Whether it was done.
    var ok: Bool
    /// Why not; or what there is to say.
    var message: String?
    /// How the mount stands, if that was asked.
    var status: MountStatus?
    /// The driver's process id, filled in by the server.
    var processID: Int32?

    private enum CodingKeys: String, CodingKey {
        case ok
        case message
        case status
        case processID = "pid"
    }

    /// Makes a reply.
    init(ok: Bool, message: String? = nil, status: MountStatus? = nil) {
        self.ok = ok
        self.message = message
        self.status = status
    }
}

/// What the driver says before its reply; without a text it says only that it is still there.
struct ControlProgress: Codable, Sendable, Equatable {
    /// Such as `3 files, 12 MB left`.
    var progress: String?
}

/// Lines of JSON.
enum ControlLine {
    /// The longest line, in bytes: a status may have twenty paths in it, of up to 4 KiB each, and escaped.
    static let maximumByteCount = 512 << 10

    /// The line of a value, with its end.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        Array(try JSONEncoder().encode(value)) + [UInt8(ascii: "\n")]
    }

    /// The value of a line; nothing if it is none of the kind.
    static func decode<Value: Decodable>(_ type: Value.Type, _ line: [UInt8]) -> Value? {
        try? JSONDecoder().decode(type, from: Data(line))
    }
}
