import FoundationEssentials
import Glibc

/// What the process was started with, as a value that tests can make up.
struct Environment: Sendable {
    /// The variables; mount(8) takes most of them away.
    var variables: [String: String]
    /// The effective user.
    var userID: UInt32
    /// The effective group.
    var groupID: UInt32
    /// The user's home directory by the user database, for when `HOME` is not set.
    var homeDirectory: String?
    /// Where the settings of all users are.
    var systemConfigurationFile = "/etc/tetherfs/config.toml"

    /// That of this process.
    static var current: Environment {
        let user = geteuid()
        return Environment(
            variables: ProcessInfo.processInfo.environment,
            userID: user,
            groupID: getegid(),
            homeDirectory: getpwuid(user)?.pointee.pw_dir.map { String(cString: $0) }
        )
    }

    /// Whether the process may mount and unmount by itself.
    var isRoot: Bool { self.userID == 0 }

    /// A variable that is set and not empty.
    subscript(name: String) -> String? {
        guard let value = self.variables[name], !value.isEmpty else { return nil }
        return value
    }

    /// The home directory; nothing if there is none.
    var home: String? {
        guard let home = self["HOME"] ?? self.homeDirectory, home.hasPrefix("/") else { return nil }
        return home
    }

    /// Where what can be fetched again is kept, if nobody says otherwise; nothing if there is no home directory.
    var defaultCacheDirectory: String? {
        self.isRoot ? "/var/cache/tetherfs" : self.directory("XDG_CACHE_HOME", below: ".cache")
    }

    /// Where the user's settings and keys are; nothing if there is no home directory.
    var configurationDirectory: String? { self.directory("XDG_CONFIG_HOME", below: ".config") }

    /// A directory of the XDG base directory specification, by its variable or in its place below the home directory.
    private func directory(_ variable: String, below place: String) -> String? {
        // A relative path is to be ignored.
        if let directory = self[variable], directory.hasPrefix("/") { return directory + "/tetherfs" }
        return self.home.map { "\($0)/\(place)/tetherfs" }
    }

    /// The settings that variables carry.
    var settings: [SettingName: Setting] {
        var settings: [SettingName: Setting] = [:]
        for (name, variable) in [
            (SettingName.profile, "TETHERFS_PROFILE"), (.endpoint, "TETHERFS_ENDPOINT"),
            (.apiKeyFile, "TETHERFS_API_KEY_FILE"), (.caFile, "TETHERFS_CA_FILE"),
            (.clientCertificate, "TETHERFS_CLIENT_CERTIFICATE"), (.clientKey, "TETHERFS_CLIENT_KEY"),
        ] {
            settings[name] = self[variable].map { Setting(text: $0, origin: variable) }
        }
        return settings
    }
}
