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

    /// The files that `login` keeps the profile's key in, one or the other. A profile's name has no dot.
    private var keyNames: [String] { [self.name + ".key", self.name + ".2.key"] }

    /// The one that it is in now, if it is there.
    private var keyName: String? { self.keyNames.first { self.path(of: $0) == self.keyFile } }

    private func path(of name: String) -> String { "\(self.directory)/\(name)" }

    private var table: [String] { [ConfigurationFile.tableName, self.name] }

    /// The path of the profile's key: the one that the user's file names, or a file of `login`'s that is there although
    /// it names none, as after a logout that could not remove it; nothing if there is neither.
    var keyFile: String? {
        self.namedKeyFile ?? self.keyNames.map(self.path(of:)).first { FileStatus(of: $0) != nil }
    }

    private var namedKeyFile: String? { self.file?.profiles[self.name]?[.apiKeyFile]?.text }

    /// Stores a key, and a profile that uses it.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - settings: What else the profile is to have, its endpoint among them; other settings that it has stay.
    /// - Returns: The key's file.
    /// - Throws: If a file cannot be written; then the profile is as it was.
    func store(_ key: String, _ settings: [SettingName: Setting]) throws(UserError) -> String {
        do throws(SystemError) {
            try PrivateDirectory.make(self.directory)
            guard chmod(self.directory, 0o700) == 0 else { throw SystemError() }
        } catch {
            throw UserError("cannot use the directory \(Printable.text(self.directory)): \(error)")
        }
        var settings = settings
        // A key for another service has another file: with the profile's old endpoint it must never be seen.
        let isSameService = settings[.endpoint]?.text == self.file?.profiles[self.name]?[.endpoint]?.text
        let names = self.keyNames
        let name = (isSameService ? self.keyName : nil) ?? (self.keyName == names[0] ? names[1] : names[0])
        settings[.apiKeyFile] = Setting(text: name, origin: "")
        let text = try self.changed { document throws(TOMLError) in
            for name in SettingName.allCases where name.isOfProfile {
                guard let setting = settings[name] else { continue }
                try document.set(self.key(name), to: Self.value(setting.text, name.kind), in: self.table)
            }
        }
        try self.replace(self.path(of: name), with: key + "\n")
        try self.replace(self.path, with: text)
        if let old = self.keyName, old != name { unlink(self.path(of: old)) }
        return self.path(of: name)
    }

    /// Takes the profile's key away.
    ///
    /// - Returns: Whether its file was removed: one that `login` did not make is left.
    func removeKey() throws(UserError) -> Bool {
        if self.namedKeyFile != nil {
            let text = try self.changed { document throws(TOMLError) in
                try document.remove(self.key(.apiKeyFile), in: self.table)
            }
            // First: a profile must not name a key that is gone.
            try self.replace(self.path, with: text)
        }
        guard let name = self.keyName else { return false }
        if unlink(self.path(of: name)) != 0, errno != ENOENT {
            throw UserError("cannot remove \(Printable.text(self.path(of: name))): \(SystemError())")
        }
        return true
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
        do throws(SystemError) {
            let (new, descriptor) = try Self.openNew(beside: path)
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

    /// Makes a file of a name that nothing has: whatever else is there is the person's.
    private static func openNew(
        beside path: String
    ) throws(SystemError) -> (path: String, descriptor: Int32) {
        while true {
            let new = "\(path).\(String(UInt32.random(in: 0..<1 << 30), radix: 36)).new"
            let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if descriptor >= 0 { return (new, descriptor) }
            let error = SystemError()
            guard error.code == EEXIST else { throw error }
        }
    }
}
