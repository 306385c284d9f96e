import ArgumentParser

/// The flags of every command that talks to the service.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where the service is (or TETHERFS_ENDPOINT; default \(ServiceConfiguration.defaultEndpoint)).",
            valueName: "url"
        )
    )
    var endpoint: String?

    @Option(
        help: ArgumentHelp(
            "The file that holds the API key (or TETHERFS_API_KEY_FILE; else ET_ENGINE_API_KEY is the key).",
            valueName: "file"
        )
    )
    var apiKeyFile: String?

    @Option(
        help: ArgumentHelp(
            "Authorities to trust, PEM (or TETHERFS_CA_FILE).",
            valueName: "file"
        )
    )
    var caFile: String?

    @Option(help: ArgumentHelp("The deadline of one request (default 30).", valueName: "seconds"))
    var requestTimeout: String?

    @Option(help: ArgumentHelp("How often a failed request is repeated (default 4).", valueName: "n"))
    var retries: String?

    @Option(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical (default info).",
            valueName: "level"
        )
    )
    var logLevel: String?

    /// What was given.
    var settings: [SettingName: Setting] {
        var settings: [SettingName: Setting] = [:]
        settings.take(.endpoint, self.endpoint)
        settings.take(.apiKeyFile, self.apiKeyFile)
        settings.take(.caFile, self.caFile)
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
