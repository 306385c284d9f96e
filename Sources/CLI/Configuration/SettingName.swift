/// The options of `mount` that have a value or are on: the same as flags, in `-o`, in a profile and, some, in the
/// environment.
enum SettingName: String, CaseIterable, Sendable {
    case profile
    case endpoint
    case filesystem
    case apiKeyFile = "api-key-file"
    case caFile = "ca-file"
    case clientCertificate = "client-certificate"
    case clientKey = "client-key"
    case insecure
    case requestTimeout = "request-timeout"
    case retries
    case logLevel = "log-level"
    case cacheDirectory = "cache-dir"
    case metadataTTL = "metadata-ttl"
    case blockTTL = "block-ttl"
    case immutable
    case memory
    case diskCache = "disk-cache"
    case writes
    case onConflict = "on-conflict"
    case temporaryNames = "temporary-names"
    case temporaryDelay = "temporary-delay"
    case renameLimit = "rename-limit"
    case metricsListen = "metrics-listen"
    case foreground
    case readOnly = "read-only"
    case allowOther = "allow-other"
    case uid
    case gid
    case umask
    case fmask
    case dmask

    /// Takes either spelling, `api-key-file` or `api_key_file`.
    init?(spelling: String) {
        self.init(rawValue: spelling.replacing("_", with: "-"))
    }

    /// What its values are.
    enum Kind: Sendable {
        /// A text.
        case text
        /// A file or directory.
        case path
        /// A number of seconds, also a broken one.
        case seconds
        /// A whole number.
        case count
        /// Bytes, maybe as K, M, G or T.
        case size
        /// Permission bits in octal.
        case mask
        /// On or off, without a value.
        case toggle
    }

    /// What its values are.
    var kind: Kind {
        switch self {
        case .profile, .endpoint, .filesystem, .logLevel, .writes, .onConflict, .temporaryNames,
            .metricsListen:
            .text
        case .apiKeyFile, .caFile, .clientCertificate, .clientKey, .cacheDirectory: .path
        case .requestTimeout, .metadataTTL, .blockTTL, .temporaryDelay: .seconds
        case .retries, .uid, .gid: .count
        case .memory, .diskCache, .renameLimit: .size
        case .umask, .fmask, .dmask: .mask
        case .insecure, .immutable, .foreground, .readOnly, .allowOther: .toggle
        }
    }

    /// Whether it is on or off, without a value.
    var isSwitch: Bool { self.kind == .toggle }

    /// Whether it is an option of `-o`: FILESYSTEM stands before those.
    var isOption: Bool { self != .filesystem }

    /// Whether it may stand in a profile.
    var isOfProfile: Bool { self != .profile }
}

/// A value as somebody wrote it, and where, so that an error can name the place.
struct Setting: Sendable, Equatable {
    /// The text.
    var text: String
    /// Such as `--retries`, `-o retries`, `TETHERFS_ENDPOINT` or `/etc/tetherfs/config.toml:3: retries`.
    var origin: String
    /// The line of the configuration file that it stands in; nothing if it was given for this command.
    var line: FileLine?

    /// Where it stands, without its name where that is known: for a table of settings.
    var place: String { self.line?.description ?? self.origin }
}

/// A line of a file.
struct FileLine: Sendable, Equatable, CustomStringConvertible {
    /// The file's absolute path.
    let path: String
    /// The first line is 1.
    let number: Int

    /// As compilers write it, so that editors find it.
    var description: String { "\(Printable.text(self.path)):\(self.number)" }
}

/// Where settings come from, the strongest first.
struct SettingLayers: Sendable {
    private let layers: [[SettingName: Setting]]
    /// The profile that is used; its settings are the weakest layers.
    let profile: Profile?

    /// Takes layers, the strongest first, and adds those of a profile.
    init(_ layers: [[SettingName: Setting]], profile: Profile? = nil) {
        self.layers = layers + (profile?.layers ?? [])
        self.profile = profile
    }

    /// Takes what was given for a command, the strongest first, then the environment, then the profile that they name.
    ///
    /// - Throws: If there is no such profile, or a configuration file has a mistake.
    init(given: [[SettingName: Setting]], environment: Environment) throws(UserError) {
        let layers = given + [environment.settings]
        let name = layers.lazy.compactMap { $0[.profile] }.first
        self.init(layers, profile: try ConfigurationFiles(environment).profile(named: name))
    }

    /// The value of the strongest layer that has one.
    subscript(name: SettingName) -> Setting? {
        self.layers.lazy.compactMap { $0[name] }.first
    }

    /// Whether a switch is on.
    func isOn(_ name: SettingName) -> Bool {
        self[name]?.text == Self.on
    }

    /// What a switch's text is when it is on.
    static let on = "on"
    /// What a switch's text is when a profile turns it off.
    static let off = "off"
}
