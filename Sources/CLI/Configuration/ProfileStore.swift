import Glibc
import TOML

/// The user's configuration file and keys, to be changed.
struct ProfileStore {
    /// The profile that is changed; there may be none of that name yet.
    let name: String
    /// The file that is changed; it may not be there yet.
    let path: String
    /// Whether the profile is the one that is used when none is named.
    let isDefault: Bool
    private let directory: String
    private let file: ConfigurationFile?

    /// Finds the profile that somebody named, or the default one.
    ///
    /// - Throws: If the name cannot be one, or there is no place for the user's files.
    init(_ name: Setting?, in files: ConfigurationFiles, environment: Environment) throws(UserError) {
        guard let directory = environment.configurationDirectory else {
            throw UserError("there is no home directory to keep a profile in: set XDG_CONFIG_HOME")
        }
        let standard = files.name(nil)?.text ?? Profile.standardName
        let name = name ?? Setting(text: standard, origin: "the default profile")
        guard ConfigurationFile.isProfileName(name.text) else {
            throw UserError("\(name.origin): a profile's name has letters, digits, - and _, at most 64")
        }
        self.name = name.text
        self.isDefault = name.text == standard
        self.directory = directory
        self.path = directory + "/config.toml"
        self.file = files.files.first { [path] in $0.path == path }
    }

    /// Where `login` keeps the profile's key.
    var keyPath: String { "\(self.directory)/\(self.keyName)" }

    private var keyName: String { self.name + ".key" }

    private var table: [String] { [ConfigurationFile.tableName, self.name] }

    /// The file of the profile's key, as the user's file says; nothing if it says none.
    var keyFile: Setting? { self.file?.profiles[self.name]?[.apiKeyFile] }

    /// Stores a key, and a profile that uses it.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - settings: What else the profile is to have; other settings that it has stay.
    /// - Throws: If a file cannot be written.
    func store(_ key: String, _ settings: [SettingName: Setting]) throws(UserError) {
        do throws(SystemError) {
            try PrivateDirectory.make(self.directory)
            guard chmod(self.directory, 0o700) == 0 else { throw SystemError() }
        } catch {
            throw UserError("cannot use the directory \(Printable.text(self.directory)): \(error)")
        }
        var settings = settings
        settings[.apiKeyFile] = Setting(text: self.keyName, origin: "")
        let text = try self.changed { document throws(TOMLError) in
            for name in SettingName.allCases where name.isOfProfile {
                guard let setting = settings[name] else { continue }
                try document.set(self.key(name), to: Self.value(setting.text, name.kind), in: self.table)
            }
        }
        try self.replace(self.keyPath, with: key + "\n")
        try self.replace(self.path, with: text)
    }

    /// Takes the profile's key away.
    ///
    /// - Returns: Whether its file was removed: one that `login` did not make is left.
    func removeKey() throws(UserError) -> Bool {
        let text = try self.changed { document throws(TOMLError) in
            try document.remove(self.key(.apiKeyFile), in: self.table)
        }
        let isOurs = self.keyFile?.text == self.keyPath
        // First: a profile must not name a key that is gone.
        try self.replace(self.path, with: text)
        if isOurs, unlink(self.keyPath) != 0, errno != ENOENT {
            throw UserError("cannot remove \(Printable.text(self.keyPath)): \(SystemError())")
        }
        return isOurs
    }

    private func changed(_ change: (inout TOMLDocument) throws(TOMLError) -> Void) throws(UserError) -> String
    {
        do throws(TOMLError) {
            var document = try TOMLDocument(self.file?.document.text ?? "")
            try change(&document)
            return document.text
        } catch {
            throw UserError("\(Printable.text(self.path)) cannot be changed: \(error)")
        }
    }

    /// The key as the file spells it.
    private func key(_ name: SettingName) -> String {
        let entries = self.file?.document[self.table]?.entries ?? []
        return entries.first { SettingName(spelling: $0.key) == name }?.key ?? name.rawValue
    }

    private static func value(_ text: String, _ kind: SettingName.Kind) -> TOMLDocument.Value {
        switch kind {
        case .count, .seconds:
            Int(text).map { .integer($0) } ?? Double(text).map { .float($0) } ?? .string(text)
        case .toggle: .boolean(text == SettingLayers.on)
        case .text, .path, .size, .mask: .string(text)
        }
    }

    /// Writes a file for its owner alone, all of it or nothing. What a link leads to is replaced, not the link.
    private func replace(_ path: String, with text: String) throws(UserError) {
        let path = (try? FilePath.real(path)) ?? path
        let new = path + ".new"
        do throws(SystemError) {
            unlink(new)
            let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { throw SystemError() }
            defer { close(descriptor) }
            guard Descriptor.write(text, to: descriptor), fsync(descriptor) == 0, rename(new, path) == 0
            else {
                let error = SystemError()
                unlink(new)
                throw error
            }
        } catch {
            throw UserError("cannot write \(Printable.text(path)): \(error)")
        }
    }
}
