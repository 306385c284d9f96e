import Logging
import RemoteAPI

/// Where the API key is taken from.
enum KeySource: Sendable, Equatable {
    /// A file, by its absolute path.
    case file(String)
    /// A variable of the environment that holds the key itself.
    case environment(String)
    /// What was typed, or came on standard input.
    case input
    /// Nobody has named a place.
    case missing

    /// The place, for an error's line.
    var place: String {
        switch self {
        case .input: "standard input"
        case .missing: "nowhere"
        case .file(let path): Printable.text(path)
        case .environment(let name): name
        }
    }
}

/// How the service is reached: what every command needs that talks to it.
struct ServiceConfiguration: Sendable {
    /// The service where none is named.
    static let defaultEndpoint = "https://api.exploretech.ai/v1"

    /// Where the service is.
    var endpoint: Endpoint
    /// Where the key is.
    var keySource: KeySource
    /// The file of the authorities to trust, by its absolute path; the system's without one.
    var authoritiesFile: String?
    /// The certificate to show to the server, and its key where that is in another file, by their absolute paths.
    var clientCertificateFile: String?
    var clientKeyFile: String?
    /// Where it was said that the server's certificate does not matter; nothing if it does.
    var insecureOrigin: String?
    /// The deadline of one request.
    var requestTimeout: Duration
    /// How often a request is repeated after its first attempt.
    var retries: Int
    /// The least level that is logged.
    var logLevel: Logger.Level

    /// Resolves the layers.
    ///
    /// - Parameters:
    ///   - layers: The settings.
    ///   - environment: Whose command it is.
    ///   - needsKey: Whether it is an error that no key is named.
    /// - Throws: Names the setting that cannot be, and where it was made.
    init(_ layers: SettingLayers, environment: Environment, needsKey: Bool = true) throws(UserError) {
        self.endpoint = try Self.endpoint(layers[.endpoint])
        self.keySource = try Self.keySource(layers, environment: environment)
        if needsKey, self.keySource == .missing { throw Self.noKey }
        self.authoritiesFile = layers[.caFile].map { FilePath.absolute($0.text) }
        self.clientCertificateFile = layers[.clientCertificate].map { FilePath.absolute($0.text) }
        self.clientKeyFile = layers[.clientKey].map { FilePath.absolute($0.text) }
        if self.clientCertificateFile == nil, let key = layers[.clientKey] {
            throw UserError("\(key.origin) goes with a certificate: name its file with --client-certificate")
        }
        self.insecureOrigin = layers.isOn(.insecure) ? layers[.insecure]?.origin : nil
        self.requestTimeout = try layers.duration(
            .requestTimeout,
            default: .seconds(30),
            isZeroAllowed: false
        )
        self.retries = try layers.integer(.retries, default: 4, in: 0...100)
        self.logLevel = try layers.logLevel
    }

    /// The line for when nobody has named a key.
    static let noKey = UserError(
        "no API key: store it with tetherfs login, name a file that holds it with --api-key-file or "
            + "TETHERFS_API_KEY_FILE, or set ET_ENGINE_API_KEY"
    )

    /// Lines that the person should see before anything is sent.
    var warnings: [String] {
        var warnings: [String] = []
        if !self.endpoint.isEncrypted, !self.endpoint.isLoopback {
            warnings.append(
                "warning: \(self.endpoint) is not encrypted: the API key and the files travel in the clear"
            )
        }
        if let insecureOrigin {
            warnings.append(
                "warning: \(insecureOrigin): whoever is between here and \(self.endpoint) can read the API key and "
                    + "the files, and change them"
            )
        }
        return warnings
    }

    private static func endpoint(_ setting: Setting?) throws(UserError) -> Endpoint {
        let setting = setting ?? Setting(text: self.defaultEndpoint, origin: "the default endpoint")
        guard let endpoint = Endpoint(setting.text) else {
            // Not repeated here: a URL may carry a password.
            throw UserError(
                "\(setting.origin) must be a URL such as https://host/v1, without user, query or fragment"
            )
        }
        return endpoint
    }

    private static func keySource(
        _ layers: SettingLayers,
        environment: Environment
    ) throws(UserError) -> KeySource {
        let file = layers[.apiKeyFile]
        if let file, file.line == nil { return try self.keySource(file) }
        if environment["ET_ENGINE_API_KEY"] != nil { return .environment("ET_ENGINE_API_KEY") }
        // systemd 252 sets the directory for a mount unit but does not make it.
        if let directory = environment["CREDENTIALS_DIRECTORY"], FileStatus(of: directory + "/api-key") != nil
        {
            return .file(directory + "/api-key")
        }
        if let file {
            try self.checkAim(of: file, layers)
            return try self.keySource(file)
        }
        return .missing
    }

    /// Makes sure that a profile's key goes to no other service than the profile's, which is the default one if the
    /// profile names none.
    private static func checkAim(of file: Setting, _ layers: SettingLayers) throws(UserError) {
        guard let endpoint = layers[.endpoint], endpoint.line == nil, let profile = layers.profile
        else { return }
        let own = SettingLayers([], profile: profile)[.endpoint]?.text ?? self.defaultEndpoint
        guard Endpoint(own) != Endpoint(endpoint.text) else { return }
        throw UserError(
            "\(endpoint.origin) is another service than that of profile \(profile.name), whose key is not for it: "
                + "name a file with --api-key-file, or another profile"
        )
    }

    private static func keySource(_ file: Setting) throws(UserError) -> KeySource {
        guard !file.text.isEmpty else { throw UserError("\(file.origin) needs the path of a file") }
        // Not repeated: whoever takes it for the key's own place gives the key.
        let isPath = file.line == nil && file.text.contains("/")
        guard isPath || FileStatus(of: FilePath.absolute(file.text)) != nil else {
            throw UserError(
                "\(file.origin) must be the path of a file that holds the key: there is no such file"
            )
        }
        return .file(FilePath.absolute(file.text))
    }
}

extension Endpoint {
    /// Whether what is sent stays on this machine.
    var isLoopback: Bool {
        let authority = self.url.dropFirst(self.isEncrypted ? "https://".count : "http://".count).prefix {
            $0 != "/"
        }
        if authority.hasPrefix("[") { return authority.hasPrefix("[::1]") }
        let host = authority.prefix { $0 != ":" }.lowercased()
        if host == "localhost" || host.hasSuffix(".localhost") { return true }
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
        return numbers.count == 4 && numbers[0] == "127" && numbers.allSatisfy { UInt8($0) != nil }
    }
}
