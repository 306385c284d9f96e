import FoundationEssentials
import WireFormat

/// How filesystems are printed.
enum FilesystemTable {
    /// The id, two blanks and the name, which may hold blanks itself.
    static func line(_ filesystem: FilesystemBody) -> String {
        "\(Printable.text(filesystem.filesystemID))  \(Printable.text(filesystem.filesystemName))"
    }

    /// A line each, the names below one another.
    static func lines(_ filesystems: [FilesystemBody]) -> [String] {
        let width = filesystems.map { Printable.columns(Printable.text($0.filesystemID)) }.max() ?? 0
        return filesystems.map { filesystem in
            let id = Printable.padded(Printable.text(filesystem.filesystemID), to: width)
            return "\(id)  \(Printable.text(filesystem.filesystemName))"
        }
    }

    /// JSON with the API's own keys, on one line, which cannot upset a terminal.
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Printable.json(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}

extension FilesystemBody {
    /// The id as calls take it.
    var checkedID: FilesystemID {
        get throws(UserError) {
            guard let id = FilesystemID(self.filesystemID) else {
                throw UserError(
                    "the server's id of that filesystem cannot be used: \(Printable.text(self.filesystemID))"
                )
            }
            return id
        }
    }
}

extension ConnectionOptions {
    /// The service that these flags, the environment and the profile name, before anything was sent.
    func connect() throws(UserError) -> ServiceConnection {
        let environment = Environment.current
        let layers = try SettingLayers(given: [self.settings], environment: environment)
        let configuration = try ServiceConfiguration(layers, environment: environment)
        configuration.warnings.forEach { Terminal.note($0) }
        // A person waits in front: what went wrong comes as the command's own line, so that repetitions are not told.
        let level = self.logLevel == nil ? .error : configuration.logLevel
        return try ServiceConnection(
            configuration,
            logger: LineLog.logger(LogState(level), environment: environment)
        )
    }
}
