import Glibc
import TOML

/// A configuration file: profiles by their names.
///
/// ```toml
/// default-profile = "work"
/// [profile.work]
/// endpoint = "https://files.example.org/v1"
/// ```
struct ConfigurationFile: Sendable {
    /// The key that names the profile for when nobody names one.
    static let defaultKey = "default-profile"
    /// The first part of a profile's table.
    static let tableName = "profile"

    /// Its absolute path.
    let path: String
    /// What it holds, for who changes it.
    let document: TOMLDocument
    /// Which profile is used when none is named.
    private(set) var defaultProfile: Setting?
    /// The settings of each profile; paths are absolute.
    private(set) var profiles: [String: [SettingName: Setting]] = [:]

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - path: Its absolute path. Paths in it are from its own directory.
    ///   - home: What `~/` stands for in it.
    /// - Returns: Nothing if there is no such file.
    /// - Throws: The first line that has a mistake, or why the file is not read.
    static func read(_ path: String, home: String?) throws(UserError) -> ConfigurationFile? {
        guard let text = try self.text(of: path) else { return nil }
        return try ConfigurationFile(text, path: path, home: home)
    }

    /// Takes a file's content.
    init(_ text: String, path: String, home: String?) throws(UserError) {
        self.path = path
        do throws(TOMLError) {
            self.document = try TOMLDocument(text)
        } catch {
            throw UserError("\(FileLine(path: path, number: error.line)): \(error.reason)")
        }
        for table in self.document.tables {
            let line = FileLine(path: path, number: table.line)
            if table.name.isEmpty {
                try self.takeRoot(table)
            } else {
                guard table.name.count == 2, table.name[0] == Self.tableName,
                    Self.isProfileName(table.name[1])
                else {
                    throw UserError(
                        "\(line): a table is a profile: [\(Self.tableName).NAME], NAME of letters, digits, - and _"
                    )
                }
                self.profiles[table.name[1]] = try self.settings(table, home)
            }
        }
    }

    /// Whether a profile may have that name: it needs no quotes in the file.
    static func isProfileName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 64
            && name.unicodeScalars.allSatisfy {
                ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
                    || $0 == "-" || $0 == "_"
            }
    }

    private mutating func takeRoot(_ table: TOMLDocument.Table) throws(UserError) {
        for entry in table.entries {
            let line = FileLine(path: self.path, number: entry.line)
            guard entry.key == Self.defaultKey else {
                let hint =
                    SettingName(spelling: entry.key) == nil
                    ? NearSpelling.hint(entry.key, among: [Self.defaultKey])
                    : "; it belongs into a profile, below [\(Self.tableName).NAME]"
                throw UserError("\(line): unknown key \(Printable.text(entry.key))\(hint)")
            }
            guard case .string(let text) = entry.value else {
                throw UserError("\(line): \(entry.key) must be a profile's name in quotes")
            }
            self.defaultProfile = Setting(text: text, origin: "\(line): \(entry.key)", line: line)
        }
    }

    private func settings(
        _ table: TOMLDocument.Table,
        _ home: String?
    ) throws(UserError) -> [SettingName: Setting] {
        var settings: [SettingName: Setting] = [:]
        for entry in table.entries {
            let line = FileLine(path: self.path, number: entry.line)
            guard let name = SettingName(spelling: entry.key), name.isOfProfile else {
                let names = SettingName.allCases.filter(\.isOfProfile).map(\.rawValue)
                let hint = NearSpelling.hint(entry.key.replacing("_", with: "-"), among: names)
                throw UserError("\(line): unknown key \(Printable.text(entry.key))\(hint)")
            }
            if let first = settings[name] {
                throw UserError("\(line): \(entry.key) stands in line \(first.line?.number ?? 0) already")
            }
            let origin = "\(line): \(entry.key)"
            guard let text = Self.text(entry.value, as: name.kind), !text.isEmpty else {
                throw UserError("\(origin) must be \(Self.expectation(name.kind))")
            }
            settings[name] = Setting(
                text: name.kind == .path ? try self.path(text, origin, home) : text,
                origin: origin,
                line: line
            )
        }
        return settings
    }

    /// The text that a flag would have.
    private static func text(_ value: TOMLDocument.Value, as kind: SettingName.Kind) -> String? {
        switch (kind, value) {
        case (.text, .string(let text)), (.path, .string(let text)), (.size, .string(let text)),
            (.mask, .string(let text)):
            text
        case (.seconds, .integer(let number)), (.count, .integer(let number)), (.size, .integer(let number)):
            "\(number)"
        case (.seconds, .float(let number)): "\(number)"
        case (.toggle, .boolean(let isOn)): isOn ? SettingLayers.on : SettingLayers.off
        default: nil
        }
    }

    private static func expectation(_ kind: SettingName.Kind) -> String {
        switch kind {
        case .text: "a text in quotes"
        case .path: "a path in quotes"
        case .seconds: "a number of seconds, without quotes"
        case .count: "a whole number, without quotes"
        case .size: "a number of bytes, or a size in quotes such as \"512M\""
        case .mask: "an octal number in quotes, such as \"022\""
        case .toggle: "true or false, without quotes"
        }
    }

    /// A path from the file's own directory, or from the home directory.
    private func path(
        _ text: String,
        _ origin: String,
        _ home: String?
    ) throws(UserError) -> String {
        if text.hasPrefix("/") { return text }
        if text == "~" || text.hasPrefix("~/") {
            guard let home else { throw UserError("\(origin): there is no home directory for ~") }
            return home + text.dropFirst()
        }
        let directory = self.path.prefix(upTo: self.path.lastIndex(of: "/") ?? self.path.startIndex)
        return "\(directory)/\(text)"
    }

    private static func text(of path: String) throws(UserError) -> String? {
        let shown = Printable.text(path)
        let status: FileStatus
        let bytes: [UInt8]
        do throws(SystemError) {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw SystemError() }
            defer { close(descriptor) }
            // Of the file that is read, whatever comes in its place.
            guard let found = FileStatus(of: descriptor) else { throw SystemError() }
            status = found
            bytes = try Descriptor.readAll(descriptor, limit: 1 << 20)
        } catch {
            if error.isMissing { return nil }
            throw UserError("\(shown) cannot be read: \(error)")
        }
        // Whoever writes there says where the key is sent.
        guard status.userID == geteuid() || status.userID == 0 else {
            throw UserError("\(shown) belongs to user \(status.userID), and must be yours or root's")
        }
        guard status.permissions & 0o022 == 0 else {
            throw UserError("\(shown) can be changed by others; run: chmod go-w \(Printable.word(path))")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UserError("\(shown) is not a text in UTF-8")
        }
        return text
    }
}
