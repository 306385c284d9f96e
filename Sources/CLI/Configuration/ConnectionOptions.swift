import ArgumentParser

/// The flags of every command that talks to the service.
struct ConnectionOptions: ParsableArguments {
    // One line each: the help of every command fits a screen. The manual says more.
    @Option(
        help: ArgumentHelp("Settings of config.toml, see tetherfs.toml(5).", valueName: "name"),
        completion: CommandCompletion.profiles
    )
    var profile: String?

    @Option(help: ArgumentHelp("Where the service is (or TETHERFS_ENDPOINT).", valueName: "url"))
    var endpoint: String?

    @Option(
        help: ArgumentHelp("Holds the API key (or TETHERFS_API_KEY_FILE).", valueName: "file"),
        completion: .file()
    )
    var apiKeyFile: String?

    @Option(
        help: ArgumentHelp("Authorities to trust, PEM (or TETHERFS_CA_FILE).", valueName: "file"),
        completion: .file()
    )
    var caFile: String?

    @Option(help: ArgumentHelp("What to show to the server, PEM.", valueName: "file", visibility: .hidden))
    var clientCertificate: String?

    @Option(
        help: ArgumentHelp(
            "The certificate's key, if in another file.",
            valueName: "file",
            visibility: .hidden
        )
    )
    var clientKey: String?

    // Who needs it finds it in the manual, with what it means.
    @Flag(help: ArgumentHelp("Do not check the server's certificate.", visibility: .hidden))
    var insecure = false

    @Option(help: ArgumentHelp("The deadline of one request (default 30).", valueName: "s"))
    var requestTimeout: String?

    @Option(help: ArgumentHelp("How often a failed request is repeated (default 4).", valueName: "n"))
    var retries: String?

    @Option(
        help: ArgumentHelp("Such as debug or warning (default info).", valueName: "level"),
        completion: CommandCompletion.logLevels
    )
    var logLevel: String?

    /// What was given.
    var settings: [SettingName: Setting] {
        var settings: [SettingName: Setting] = [:]
        settings.take(.profile, self.profile)
        settings.take(.endpoint, self.endpoint)
        settings.take(.apiKeyFile, self.apiKeyFile)
        settings.take(.caFile, self.caFile)
        settings.take(.clientCertificate, self.clientCertificate)
        settings.take(.clientKey, self.clientKey)
        settings.take(.insecure, self.insecure)
        settings.take(.requestTimeout, self.requestTimeout)
        settings.take(.retries, self.retries)
        settings.take(.logLevel, self.logLevel)
        return settings
    }
}

extension [SettingName: Setting] {
    /// Takes a flag that was given.
    mutating func take(_ name: SettingName, _ text: String?) {
        self[name] = text.map { Setting(text: $0, origin: "--\(name.rawValue)") }
    }

    /// Takes a flag without a value.
    mutating func take(_ name: SettingName, _ isGiven: Bool) {
        if isGiven { self.take(name, SettingLayers.on) }
    }
}
