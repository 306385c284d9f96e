/// The options of `mount` that have a value or are on: the same as flags, in `-o` and, some, in the environment.
enum SettingName: String, CaseIterable, Sendable {
    case endpoint
    case apiKeyFile = "api-key-file"
    case caFile = "ca-file"
    case cacheDirectory = "cache-dir"
    case requestTimeout = "request-timeout"
    case retries
    case metadataTTL = "metadata-ttl"
    case blockTTL = "block-ttl"
    case memory
    case diskCache = "disk-cache"
    case writes
    case onConflict = "on-conflict"
    case temporaryNames = "temporary-names"
    case temporaryDelay = "temporary-delay"
    case renameLimit = "rename-limit"
    case immutable
    case logLevel = "log-level"
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

    /// Whether it is on or off, without a value.
    var isSwitch: Bool {
        switch self {
        case .foreground, .readOnly, .allowOther, .immutable: true
        case .endpoint, .apiKeyFile, .caFile, .cacheDirectory, .requestTimeout, .retries, .metadataTTL,
            .blockTTL, .memory, .diskCache, .writes, .onConflict, .temporaryNames, .temporaryDelay,
            .renameLimit, .logLevel, .uid, .gid, .umask, .fmask, .dmask:
            false
        }
    }
}

/// A value as somebody wrote it, and where, so that an error can name the place.
struct Setting: Sendable, Equatable {
    /// The text.
    var text: String
    /// Such as `--retries`, `-o retries` or `TETHERFS_ENDPOINT`.
    var origin: String
}

/// Where settings come from, the strongest first; a configuration file takes its place at the end.
struct SettingLayers: Sendable {
    private var layers: [[SettingName: Setting]]

    /// Takes the layers, the strongest first.
    init(_ layers: [[SettingName: Setting]]) {
        self.layers = layers
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
    /// What a switch's text is when it was turned off, as by `-o rw`.
    static let off = "off"
}
