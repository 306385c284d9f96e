import Testing

@testable import CLI

@Suite("Reading a configuration file")
struct ConfigurationFileTests {
    private func file(_ text: String) throws -> ConfigurationFile {
        try ConfigurationFile(text, path: "/etc/tetherfs/config.toml", home: "/home/joe")
    }

    private func error(_ text: String) -> String {
        let error = #expect(throws: UserError.self) { try self.file(text) }
        return error?.description ?? ""
    }

    @Test("A setting knows its line, and its text is what the flag would have")
    func settings() throws {
        let profiles = try self.file(
            """
            # comment
            [profile.work]
            endpoint = "https://host/v1"
            retries = 2
            metadata_ttl = 0.5
            memory = 67108864
            disk-cache = "2G"
            umask = "027"
            read-only = true
            immutable = false
            """
        ).profiles
        let work = try #require(profiles["work"])
        #expect(
            work.mapValues(\.text) == [
                .endpoint: "https://host/v1", .retries: "2", .metadataTTL: "0.5", .memory: "67108864",
                .diskCache: "2G", .umask: "027", .readOnly: "on", .immutable: "off",
            ]
        )
        #expect(work[.retries]?.place == "/etc/tetherfs/config.toml:4")
        #expect(work[.metadataTTL]?.origin == "/etc/tetherfs/config.toml:5: metadata_ttl")
    }

    @Test("Everything that mount takes may stand in a profile")
    func everything() throws {
        let values: [SettingName.Kind: String] = [
            .text: "\"a\"", .path: "\"/a\"", .seconds: "1", .count: "1", .size: "1", .mask: "\"0\"",
            .toggle: "true",
        ]
        for name in SettingName.allCases where name.isOfProfile {
            let value = try #require(values[name.kind])
            let file = try self.file("[profile.a]\n\(name.rawValue) = \(value)\n")
            #expect(file.profiles["a"]?.keys.first == name)
        }
    }

    @Test("Paths are from the file's directory or the home directory")
    func paths() throws {
        let file = try self.file(
            "[profile.a]\nca-file = \"ca/x.pem\"\ncache-dir = \"~/c\"\nclient-key = \"/k\""
        )
        #expect(
            file.profiles["a"]?.mapValues(\.text) == [
                .caFile: "/etc/tetherfs/ca/x.pem", .cacheDirectory: "/home/joe/c", .clientKey: "/k",
            ]
        )
    }

    @Test(
        "A misspelt key is an error with the line and what it may have meant",
        arguments: [
            (
                "[profile.a]\n\nendpiont = \"x\"",
                "config.toml:3: unknown key endpiont; did you mean endpoint?"
            ),
            (
                "[profile.a]\ncache_dri = \"x\"",
                "config.toml:2: unknown key cache_dri; did you mean cache-dir?"
            ),
            ("[profile.a]\nread_olny = true", ":2: unknown key read_olny; did you mean read-only?"),
            ("[profile.a]\napi-key = \"x\"", ":2: unknown key api-key"),
            ("[profile.a]\ncolour = \"x\"", ":2: unknown key colour"),
            ("[profile.a]\nprofile = \"x\"", ":2: unknown key profile"),
            ("defualt-profile = \"x\"", ":1: unknown key defualt-profile; did you mean default-profile?"),
            ("endpoint = \"x\"", ":1: unknown key endpoint; it belongs into a profile, below [profile.NAME]"),
            ("[profiles.a]", ":1: a table is a profile: [profile.NAME]"),
            ("[a]", ":1: a table is a profile"), ("[profile]", ":1: a table is a profile"),
            ("[profile.\"a b\"]", ":1: a table is a profile"), ("[profile.a.b]", ":1: a table is a profile"),
        ]
    )
    func misspelt(text: String, words: String) {
        #expect(self.error(text).contains(words))
    }

    @Test(
        "A value of another type is an error with the line",
        arguments: [
            ("retries = \"4\"", "retries must be a whole number, without quotes"),
            ("retries = 4.5", "must be a whole number"), ("endpoint = 5", "must be a text in quotes"),
            ("endpoint = \"\"", "must be a text in quotes"), ("ca-file = true", "must be a path in quotes"),
            ("metadata-ttl = \"5\"", "must be a number of seconds, without quotes"),
            ("memory = true", "must be a number of bytes, or a size in quotes"),
            ("umask = 22", "must be an octal number in quotes"),
            ("read-only = \"true\"", "must be true or false, without quotes"),
            ("read-only = 1", "must be true or false, without quotes"),
            ("retries = 1\nretries = 2", "retries stands in line 2 already"),
            ("block-ttl = 1\nblock_ttl = 2", "block_ttl stands in line 2 already"),
            ("retries 4", "a key is followed by ="),
        ]
    )
    func wrongType(line: String, words: String) {
        let error = self.error("[profile.a]\n\(line)\n")
        #expect(error.hasPrefix("/etc/tetherfs/config.toml:\(line.contains("\n") ? 3 : 2): "))
        #expect(error.contains(words))
    }

    @Test("A value that cannot be is an error with the line, when it is used")
    func wrongValue() throws {
        let files = ConfigurationFiles([try self.file("[profile.a]\nretries = 1000\nmemory = \"much\"")])
        let layers = SettingLayers(
            [],
            profile: try files.profile(named: Setting(text: "a", origin: "--profile"))
        )
        let error = #expect(throws: UserError.self) { try layers.integer(.retries, default: 4, in: 0...100) }
        #expect(
            error?.description
                == "/etc/tetherfs/config.toml:2: retries is '1000' and must be a whole number from 0 to 100"
        )
        #expect(throws: UserError.self) { try layers.byteCount(.memory, default: 1, in: 0...10) }
    }

    @Test(
        "What was meant by a misspelt word is guessed if it is near",
        arguments: [
            ("retires", "; did you mean retries?"), ("gdi", "; did you mean gid?"),
            ("caffile", "; did you mean ca-file?"),
            ("xyz", ""), ("", ""), ("something-else", ""),
        ]
    )
    func guesses(word: String, hint: String) {
        #expect(NearSpelling.hint(word, among: ["retries", "gid", "ca-file", "endpoint"]) == hint)
    }
}

@Suite("Choosing a profile")
struct ProfileTests {
    private func file(_ text: String, _ path: String) throws -> ConfigurationFile {
        try ConfigurationFile(text, path: path, home: nil)
    }

    private func files(_ user: String, _ system: String) throws -> ConfigurationFiles {
        ConfigurationFiles([try self.file(user, "/user"), try self.file(system, "/system")])
    }

    private let named = Setting(text: "b", origin: "--profile")

    @Test("The user's profile goes before the system's of the same name, setting by setting")
    func layers() throws {
        let files = try self.files("[profile.b]\nretries = 1", "[profile.b]\nretries = 2\numask = \"077\"")
        let layers = SettingLayers([], profile: try files.profile(named: self.named))
        #expect(layers[.retries]?.place == "/user:2")
        #expect(layers[.umask]?.place == "/system:3")
    }

    @Test("What was given goes before the profile")
    func given() throws {
        let profile = try self.files("[profile.b]\nretries = 1\nread-only = true", "").profile(
            named: self.named
        )
        let given: [SettingName: Setting] = [
            .retries: Setting(text: "7", origin: "--retries")
        ]
        let layers = SettingLayers([given], profile: profile)
        #expect(layers[.retries]?.text == "7")
        #expect(layers.isOn(.readOnly))
    }

    @Test("A switch that the user's file turns off is off, whatever the system's says")
    func turnedOff() throws {
        let files = try self.files("[profile.b]\nread-only = false", "[profile.b]\nread-only = true")
        #expect(!SettingLayers([], profile: try files.profile(named: self.named)).isOn(.readOnly))
    }

    @Test("Without a name the user's default is used, then the system's, then the one called default")
    func defaults() throws {
        let profiles = "[profile.default]\n[profile.b]\n[profile.c]"
        let both = try self.files(
            "default-profile = \"b\"\n\(profiles)",
            "default-profile = \"c\"\n\(profiles)"
        )
        #expect(try both.profile(named: nil)?.name == "b")
        #expect(try both.profile(named: Setting(text: "c", origin: "--profile"))?.name == "c")
        #expect(try self.files(profiles, "default-profile = \"c\"").profile(named: nil)?.name == "c")
        #expect(try self.files(profiles, "").profile(named: nil)?.name == "default")
        #expect(try self.files("[profile.b]", "").profile(named: nil) == nil)
    }

    @Test("A profile that there is not is an error with those that there are, and where it was named")
    func unknown() throws {
        let error = #expect(throws: UserError.self) {
            try self.files("[profile.a]\n[profile.c]", "").profile(named: self.named)
        }
        #expect(error?.description == "--profile: no profile 'b'; there are: a, c")
        let byFile = #expect(throws: UserError.self) {
            try self.files("default-profile = \"x\"", "").profile(named: nil)
        }
        #expect(
            byFile?.description
                == "/user:1: default-profile: no profile 'x'; no profiles are in /user or /system"
        )
    }

    @Test("A profile's key is not sent to a service that is another than the profile's")
    func keyForAnotherService() throws {
        let environment = Environment(variables: [:], userID: 1, groupID: 1, homeDirectory: nil)
        let text = "[profile.b]\nendpoint = \"https://a/v1\"\napi-key-file = \"/dev/null\""
        let profile = try self.files(text, "").profile(named: self.named)
        func resolve(_ url: String?, _ more: [SettingName: Setting] = [:]) throws -> ServiceConfiguration {
            var given = more
            given.take(.endpoint, url)
            return try ServiceConfiguration(
                SettingLayers([given], profile: profile),
                environment: environment
            )
        }
        #expect(try resolve(nil).keySource == .file("/dev/null"))
        #expect(try resolve("https://a/v1/").keySource == .file("/dev/null"))
        #expect(throws: UserError.self) { try resolve("https://b/v1") }
        let key = [SettingName.apiKeyFile: Setting(text: "/l", origin: "--api-key-file")]
        #expect(try resolve("https://b/v1", key).keySource == .file("/l"))
    }

    @Test("The key of a profile without an endpoint goes to the default endpoint alone")
    func keyOfTheDefaultEndpoint() throws {
        let environment = Environment(variables: [:], userID: 1, groupID: 1, homeDirectory: nil)
        let profile = try self.files("[profile.b]\napi-key-file = \"/dev/null\"", "").profile(
            named: self.named
        )
        func resolve(_ url: String) throws -> KeySource {
            let given = [SettingName.endpoint: Setting(text: url, origin: "--endpoint")]
            let layers = SettingLayers([given], profile: profile)
            return try ServiceConfiguration(layers, environment: environment).keySource
        }
        #expect(try resolve(ServiceConfiguration.defaultEndpoint) == .file("/dev/null"))
        #expect(throws: UserError.self) { try resolve("https://b/v1") }
    }

    @Test("A key in the environment goes before a profile's, and a file in the environment before that")
    func keyOrder() throws {
        let profile = try self.files("[profile.b]\napi-key-file = \"/dev/null\"", "").profile(
            named: self.named
        )
        func source(_ variables: [String: String]) throws -> KeySource {
            let environment = Environment(variables: variables, userID: 1, groupID: 1, homeDirectory: nil)
            let layers = SettingLayers([environment.settings], profile: profile)
            return try ServiceConfiguration(layers, environment: environment).keySource
        }
        #expect(try source([:]) == .file("/dev/null"))
        #expect(try source(["ET_ENGINE_API_KEY": "x"]) == .environment("ET_ENGINE_API_KEY"))
        #expect(try source(["ET_ENGINE_API_KEY": "x", "TETHERFS_API_KEY_FILE": "/f"]) == .file("/f"))
    }
}
