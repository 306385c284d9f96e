import FoundationEssentials
import RemoteAPI
import VFS

/// What every setting comes to, and where that is from.
struct SettingTable {
    /// A line of it.
    struct Row: Encodable, Equatable {
        /// The setting's name, or `api-key`.
        var name: String
        /// Its value as a flag would have it; nothing if it has none.
        var value: String?
        /// A flag, an option of `-o`, a variable, a line `FILE:NUMBER`, or `default`.
        var source: String

        // The name is the key of the object in JSON.
        private enum CodingKeys: CodingKey { case value, source }
    }

    /// The lines, in the order of the manual.
    let rows: [Row]

    /// Resolves all.
    ///
    /// - Parameters:
    ///   - configuration: What the settings come to.
    ///   - layers: Where they are from.
    init(_ configuration: MountConfiguration, _ layers: SettingLayers) {
        var rows: [Row] = []
        for name in SettingName.allCases {
            let setting = layers[name]
            var row = Row(
                name: name.rawValue,
                value: Self.value(of: name, configuration) ?? setting?.text,
                source: setting?.place ?? "default"
            )
            switch name {
            case .profile:
                row.value = layers.profile?.name
                row.source = layers.profile?.origin?.place ?? "default"
            case .apiKeyFile: row = Self.keyFile(configuration.service.keySource, setting)
            default: break
            }
            rows.append(row)
            if name == .apiKeyFile { rows.append(Self.key(configuration.service.keySource)) }
        }
        self.rows = rows
    }

    /// The lines as text, in columns as wide as what stands in them.
    var lines: [String] {
        let shown = self.rows.map { ($0.name, Printable.text($0.value ?? "-"), Printable.text($0.source)) }
        let width = shown.map(\.0.count).max() ?? 0
        // A long value moves its own line's source alone.
        let valueWidth = min(shown.map { Printable.columns($0.1) }.max() ?? 0, 32)
        return shown.map { name, value, source in
            "\(Printable.padded(name, to: width))  \(Printable.padded(value, to: valueWidth))  \(source)"
        }
    }

    /// The file that the key is from, where it is from a file.
    private static func keyFile(_ source: KeySource, _ setting: Setting?) -> Row {
        let name = SettingName.apiKeyFile.rawValue
        guard case .file(let path) = source else { return Row(name: name, value: nil, source: "default") }
        let isSet = setting.map { FilePath.absolute($0.text) == path } ?? false
        return Row(name: name, value: path, source: isSet ? setting?.place ?? "" : "CREDENTIALS_DIRECTORY")
    }

    /// Whether there is a key, and where.
    private static func key(_ source: KeySource) -> Row {
        switch source {
        case .missing, .input: Row(name: "api-key", value: nil, source: "default")
        case .file(let path): Row(name: "api-key", value: Secrets.mask, source: path)
        case .environment(let name): Row(name: "api-key", value: Secrets.mask, source: name)
        }
    }

    /// The value that a setting comes to, also by default; nothing if there is none.
    private static func value(of name: SettingName, _ configuration: MountConfiguration) -> String? {
        let service = configuration.service
        switch name {
        case .profile, .filesystem, .apiKeyFile: return nil
        case .endpoint: return service.endpoint.url
        case .caFile: return service.authoritiesFile
        case .clientCertificate: return service.clientCertificateFile
        case .clientKey: return service.clientKeyFile
        case .insecure: return Self.text(service.insecureOrigin != nil)
        case .requestTimeout: return Self.text(service.requestTimeout)
        case .retries: return "\(service.retries)"
        case .logLevel: return service.logLevel.rawValue
        case .cacheDirectory: return configuration.cacheDirectory
        case .metadataTTL: return Self.text(configuration.metadataTTL)
        case .blockTTL: return Self.text(configuration.blockTTL)
        case .immutable: return Self.text(configuration.writes.isImmutable)
        case .memory: return Self.size(configuration.memoryByteCount)
        case .diskCache: return Self.size(configuration.diskCacheByteCount)
        case .writes: return configuration.writes.mode.rawValue
        case .onConflict: return configuration.writes.onConflict.rawValue
        case .temporaryNames: return configuration.writes.temporaryNames.patterns.joined(separator: ":")
        case .temporaryDelay: return Self.text(configuration.writes.temporaryDelay)
        case .renameLimit: return Self.size(Int(configuration.writes.renameLimit))
        case .metricsListen: return configuration.metricsAddress?.description
        case .foreground: return Self.text(configuration.isForeground)
        case .readOnly: return Self.text(configuration.isReadOnly)
        case .allowOther: return Self.text(configuration.allowsOthers)
        case .uid: return "\(configuration.userID)"
        case .gid: return "\(configuration.groupID)"
        case .umask, .fmask, .dmask: return nil
        }
    }

    private static func text(_ isOn: Bool) -> String { isOn ? "true" : "false" }

    /// Seconds, without a fraction that is nothing.
    private static func text(_ duration: Duration) -> String {
        let seconds = duration / .seconds(1)
        return seconds == seconds.rounded() ? "\(Int(seconds))" : "\(seconds)"
    }

    /// Bytes, in the largest unit that leaves a whole number.
    private static func size(_ byteCount: Int) -> String {
        var (rest, unit) = (byteCount, "")
        for next in ["K", "M", "G", "T"] where rest > 0 && rest % 1024 == 0 {
            (rest, unit) = (rest / 1024, next)
        }
        return "\(rest)\(unit)"
    }
}
