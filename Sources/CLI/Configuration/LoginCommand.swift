import ArgumentParser
import Glibc
import RemoteAPI

/// `tetherfs login`.
struct LoginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Asks for the API key, tries it and stores it.",
        usage: "tetherfs login [--profile <name>] [--endpoint <url>] [<options>]",
        discussion: """
            What is given becomes part of the profile. Without a terminal the key is
            read from standard input.

            Examples:
              tetherfs login
              pass show tetherfs | tetherfs login --endpoint https://host/v1
            """
    )

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    func run() throws {
        guard self.connection.apiKeyFile == nil else {
            throw UserError("login asks for the key and stores it itself: leave --api-key-file out")
        }
        let environment = Environment.current
        let files = try ConfigurationFiles(environment)
        var given = self.connection.settings
        let store = try ProfileStore(
            given[.profile] ?? environment.settings[.profile],
            in: files,
            environment: environment
        )
        let profile = files.profile(Setting(text: store.name, origin: ""))
        given[.endpoint] = try self.endpoint(SettingLayers([given, environment.settings], profile: profile))
        for (name, setting) in given where name.kind == .path {
            given[name]?.text = FilePath.absolute(setting.text)
        }
        given[.profile] = nil

        let service = try Self.service(given, profile, environment)
        service.warnings.forEach { Terminal.note($0) }
        let key = try Self.key()
        try Self.check(key, service, environment)
        let keyPath = try store.store(key, given)
        let how = store.isDefault ? "" : "; use it with --profile \(store.name)"
        Terminal.note(
            "the key is in \(Printable.text(keyPath)), for profile \(store.name) of "
                + "\(Printable.text(store.path))\(how)"
        )
    }

    /// The URL that was given, or that the person types; who only presses Enter takes the one that is known.
    private func endpoint(_ layers: SettingLayers) throws(UserError) -> Setting {
        let known = layers[.endpoint]?.text ?? ServiceConfiguration.defaultEndpoint
        if self.connection.endpoint != nil || !Terminal.canAsk {
            return layers[.endpoint] ?? Setting(text: known, origin: "the default endpoint")
        }
        guard let answer = Terminal.ask("Endpoint [\(Printable.text(known))]: ") else {
            throw UserError("no endpoint: nothing was stored")
        }
        return Setting(text: answer.trimmed.isEmpty ? known : answer.trimmed, origin: "the endpoint")
    }

    /// The service without a key: the one that is known is about to be replaced.
    private static func service(
        _ given: [SettingName: Setting],
        _ profile: Profile?,
        _ environment: Environment
    ) throws(UserError) -> ServiceConfiguration {
        var layers = [given, environment.settings] + (profile?.layers ?? [])
        for index in layers.indices { layers[index][.apiKeyFile] = nil }
        var service = try ServiceConfiguration(
            SettingLayers(layers),
            environment: environment,
            needsKey: false
        )
        service.keySource = .input
        return service
    }

    private static func key() throws(UserError) -> String {
        let key: String?
        if isatty(STDIN_FILENO) == 1 {
            guard Terminal.canAsk else {
                throw UserError("there is nowhere to ask for the key: standard error is no terminal")
            }
            key = Terminal.askSecretly("API key (not shown): ")
        } else {
            // Some more than any key has, so that another file is noticed.
            key = (try? Descriptor.readAll(STDIN_FILENO, limit: 64 << 10)).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        guard let key = key?.trimmed, !key.isEmpty else { throw UserError("no API key: nothing was stored") }
        return key
    }

    private static func check(
        _ key: String,
        _ service: ServiceConfiguration,
        _ environment: Environment
    ) throws(UserError) {
        let credentials: Credentials
        do throws(CredentialsError) {
            credentials = try Credentials(key: key)
        } catch {
            throw UserError(Printable.text(error.description))
        }
        Secrets.shared.add(key)
        let logger = LineLog.logger(LogState(.error), environment: environment)
        _ = try ServiceConnection(service, credentials: credentials, logger: logger).filesystems()
    }
}

/// `tetherfs logout`.
struct LogoutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout",
        abstract: "Removes a key that login stored.",
        discussion: """
            The service still knows it.

            Example:
              tetherfs logout --profile work
            """
    )

    @Option(
        help: ArgumentHelp("Its profile (or TETHERFS_PROFILE).", valueName: "name"),
        completion: CommandCompletion.profiles
    )
    var profile: String?

    func run() throws {
        let environment = Environment.current
        var given: [SettingName: Setting] = [:]
        given.take(.profile, self.profile)
        let store = try ProfileStore(
            given[.profile] ?? environment.settings[.profile],
            in: ConfigurationFiles(environment),
            environment: environment
        )
        let shown = Printable.text(store.path)
        guard let keyFile = store.keyFile else {
            throw UserError("profile \(store.name) has no key in \(shown)")
        }
        let isRemoved = try store.removeKey()
        let path = Printable.text(keyFile)
        Terminal.note(
            isRemoved
                ? "removed \(path)"
                : "profile \(store.name) has no key any more; left \(path), which is not login's"
        )
    }
}
