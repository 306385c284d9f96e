/// A profile that a command uses.
struct Profile: Sendable {
    /// The name of the profile that is used when nobody names one, if there is one of it.
    static let standardName = "default"

    /// Its name.
    let name: String
    /// Where it was named: a flag, a variable or a line; nothing if it is ``standardName`` for want of any.
    let origin: Setting?
    /// Its settings, the user's before the system's.
    let layers: [[SettingName: Setting]]
}

/// The configuration files that there are.
struct ConfigurationFiles: Sendable {
    /// Where they may be: the user's and the system's; the first of them is stronger.
    private let paths: [String]
    /// Those that there are.
    let files: [ConfigurationFile]

    /// Reads them.
    ///
    /// - Throws: If one has a mistake or cannot be read.
    init(_ environment: Environment) throws(UserError) {
        self.paths =
            (environment.configurationDirectory.map { ["\($0)/config.toml"] } ?? [])
            + [environment.systemConfigurationFile]
        var files: [ConfigurationFile] = []
        for path in self.paths {
            if let file = try ConfigurationFile.read(path, home: environment.home) { files.append(file) }
        }
        self.files = files
    }

    /// Takes files, the strongest first.
    init(_ files: [ConfigurationFile]) {
        self.paths = files.map(\.path)
        self.files = files
    }

    /// The profile to use.
    ///
    /// - Parameter setting: Its name, if somebody gave one.
    /// - Returns: Nothing if none is named, and none is called `default`.
    /// - Throws: If there is none of a name that was given.
    func profile(named setting: Setting?) throws(UserError) -> Profile? {
        let setting = self.name(setting)
        if let profile = self.profile(setting) { return profile }
        guard let setting else { return nil }
        let names = self.names
        let others =
            names.isEmpty
            ? "no profiles are in \(self.paths.map { Printable.text($0) }.joined(separator: " or "))"
            : "there are: \(names.joined(separator: ", "))"
        throw UserError("\(setting.origin): no profile '\(Printable.text(setting.text))'; \(others)")
    }

    /// The names of all profiles, in order.
    var names: [String] { Set(self.files.flatMap(\.profiles.keys)).sorted() }

    /// The profile of a name, or of the standard one; nothing if there is none.
    func profile(_ name: Setting?) -> Profile? {
        let text = name?.text ?? Profile.standardName
        let layers = self.files.compactMap { $0.profiles[text] }
        return layers.isEmpty ? nil : Profile(name: text, origin: name, layers: layers)
    }

    /// The name of the profile to use, whether or not there is one of it.
    func name(_ setting: Setting?) -> Setting? {
        setting ?? self.files.lazy.compactMap(\.defaultProfile).first
    }
}
