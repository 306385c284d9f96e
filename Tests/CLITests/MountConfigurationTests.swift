import Logging
import RemoteAPI
import Testing

@testable import CLI

@Suite("Resolving a mount's configuration")
struct MountConfigurationTests {
    private static let user = Environment(
        variables: ["ET_ENGINE_API_KEY": "0123456789"],
        userID: 1000,
        groupID: 100,
        homeDirectory: "/home/joe",
        systemConfigurationFile: "/nonexistent/config.toml"
    )

    private func resolve(
        _ arguments: [String],
        _ environment: Environment = Self.user
    ) throws -> MountConfiguration {
        let command = try MountCommand.parse(["data", "/"] + arguments)
        return try command.configuration(environment)
    }

    @Test("Without options the defaults hold")
    func defaults() throws {
        let configuration = try self.resolve([])
        #expect(configuration.service.endpoint.url == "https://api.exploretech.ai/v1")
        #expect(configuration.service.keySource == .environment("ET_ENGINE_API_KEY"))
        #expect(configuration.service.requestTimeout == .seconds(30))
        #expect(configuration.service.retries == 4)
        #expect(configuration.service.logLevel == .info)
        #expect(configuration.metadataTTL == .seconds(10))
        #expect(configuration.blockTTL == .seconds(3600))
        #expect(configuration.diskCacheByteCount == 10 << 30)
        #expect(configuration.cacheDirectory == "/home/joe/.cache/tetherfs")
        #expect((configuration.userID, configuration.groupID) == (1000, 100))
        #expect((configuration.fileMode, configuration.directoryMode) == (0o644, 0o755))
        #expect(!configuration.isReadOnly && !configuration.allowsOthers && !configuration.isForeground)
        #expect(configuration.sourceName == "data")
    }

    @Test("A flag beats -o, and -o beats the environment")
    func precedence() throws {
        var environment = Self.user
        environment.variables["TETHERFS_ENDPOINT"] = "https://environment/v1"
        let option = ["-o", "endpoint=https://option/v1,retries=7,rw"]
        #expect(try self.resolve([], environment).service.endpoint.url == "https://environment/v1")
        #expect(try self.resolve(option, environment).service.endpoint.url == "https://option/v1")
        let both = try self.resolve(option + ["--endpoint", "https://flag/v1", "--read-only"], environment)
        #expect(both.service.endpoint.url == "https://flag/v1")
        #expect(both.service.retries == 7)
        #expect(both.isReadOnly)
    }

    @Test(
        "The key is taken from the first place that has one",
        arguments: [
            (
                ["--api-key-file", "/flag"], ["TETHERFS_API_KEY_FILE": "/file", "ET_ENGINE_API_KEY": "k"],
                "/flag"
            ),
            ([], ["TETHERFS_API_KEY_FILE": "/file", "ET_ENGINE_API_KEY": "k"], "/file"),
            ([], ["TETHERFS_API_KEY_FILE": "", "ET_ENGINE_API_KEY": "k"], "ET_ENGINE_API_KEY"),
        ]
    )
    func keySource(arguments: [String], variables: [String: String], place: String) throws {
        var environment = Self.user
        environment.variables = variables
        #expect(try self.resolve(arguments, environment).service.keySource.place == place)
    }

    @Test("Without a key there is a line that says where to put one")
    func noKey() {
        var environment = Self.user
        // systemd 252 sets the variable for a mount unit, and makes no directory.
        environment.variables = ["CREDENTIALS_DIRECTORY": "/nonexistent"]
        #expect(throws: UserError.self) { try self.resolve([], environment) }
    }

    @Test(
        "Masks take bits away: umask from 0666 and 0777, fmask and dmask from 0777",
        arguments: [
            (["--umask", "027"], 0o640, 0o750),
            (["--umask", "0"], 0o666, 0o777),
            (["--fmask", "133"], 0o644, 0o755),
            (["--dmask", "077"], 0o644, 0o700),
            (["--umask", "077", "--fmask", "022"], 0o755, 0o700),
            (["-o", "umask=077,dmask=022"], 0o600, 0o755),
        ] as [([String], UInt32, UInt32)]
    )
    func masks(arguments: [String], fileMode: UInt32, directoryMode: UInt32) throws {
        let configuration = try self.resolve(arguments)
        #expect((configuration.fileMode, configuration.directoryMode) == (fileMode, directoryMode))
    }

    @Test("The cache is where root, XDG_CACHE_HOME or HOME say")
    func cacheDirectory() throws {
        var environment = Self.user
        environment.variables["HOME"] = "/elsewhere"
        #expect(try self.resolve([], environment).cacheDirectory == "/elsewhere/.cache/tetherfs")
        environment.variables["XDG_CACHE_HOME"] = "/xdg"
        #expect(try self.resolve([], environment).cacheDirectory == "/xdg/tetherfs")
        environment.userID = 0
        #expect(try self.resolve([], environment).cacheDirectory == "/var/cache/tetherfs")
    }

    @Test("Sizes are taken with and without a unit")
    func sizes() throws {
        let configuration = try self.resolve(["--memory", "64m", "-o", "disk_cache=0,block_ttl=60"])
        #expect(configuration.memoryByteCount == 64 << 20)
        #expect(configuration.diskCacheByteCount == 0)
        #expect(configuration.blockTTL == .seconds(60))
        #expect(try self.resolve(["--disk-cache", "3T"]).diskCacheByteCount == 3 << 40)
        #expect(try self.resolve(["--memory", "33554432"]).memoryByteCount == 32 << 20)
    }

    @Test("Without options close waits for the server, conflicts keep both, and no temporary name waits")
    func writesByDefault() throws {
        let writes = try self.resolve([]).writes
        #expect(writes.mode == .sync && writes.onConflict == .keepBoth && !writes.isImmutable)
        #expect(writes.temporaryDelay == .zero && writes.temporaryNames == .standard)
        #expect(writes.renameLimit == 1 << 30)
    }

    @Test("How writes go can be set, by flags and by -o; temporary names wait in write-back")
    func writes() throws {
        let flags = try self.resolve([
            "--writes", "write-back", "--on-conflict", "last-writer-wins", "--temporary-names", "*.x:y*",
            "--rename-limit", "2M", "--immutable",
        ]).writes
        #expect(flags.mode == .writeBack && flags.onConflict == .lastWriterWins && flags.isImmutable)
        #expect(flags.temporaryNames.patterns == ["*.x", "y*"] && flags.temporaryDelay == .seconds(30))
        #expect(flags.renameLimit == 2 << 20)
        let options = "writes=write-back,on_conflict=keep-both,temporary_delay=0,rename_limit=0,immutable"
        let set = try self.resolve(["-o", options]).writes
        #expect(set.mode == .writeBack && set.onConflict == .keepBoth && set.isImmutable)
        #expect(set.temporaryDelay == .zero && set.renameLimit == 0)
    }

    @Test("Fractions of seconds and a TTL of zero are taken")
    func durations() throws {
        let configuration = try self.resolve(["--metadata-ttl", "0", "--request-timeout", "0.5"])
        #expect(configuration.metadataTTL == .zero)
        #expect(configuration.service.requestTimeout == .milliseconds(500))
    }

    @Test(
        "A value that cannot be is refused",
        arguments: [
            ["--request-timeout", "0"], ["--request-timeout", "nan"], ["--metadata-ttl=-1"],
            ["--retries", "1.5"],
            ["--umask", "8"], ["--umask", "1000"], ["--uid", "joe"], ["--uid", "4294967295"],
            ["--log-level", "loud"], ["--memory", "1M"], ["--memory", "much"], ["--disk-cache=-1"],
            ["--disk-cache", "9999999T"], ["--disk-cache", "G"], ["--block-ttl=-1"],
            ["--endpoint", "ftp://host"], ["--endpoint", "https://user:word@host"], ["-o", "retries=many"],
            ["--writes", "async"], ["-o", "on_conflict=mine"], ["--temporary-delay=-1"],
            ["--rename-limit", "some"], ["-o", "immutable=yes"],
        ]
    )
    func refused(arguments: [String]) {
        #expect(throws: UserError.self) { try self.resolve(arguments) }
    }

    @Test("A password in an endpoint is not repeated in the error")
    func passwordInEndpoint() {
        let error = #expect(throws: UserError.self) {
            try self.resolve(["--endpoint", "https://joe:word@host"])
        }
        #expect(error?.description.contains("word") == false)
    }

    @Test(
        "Only an endpoint that leaves the machine unencrypted gets a warning",
        arguments: [
            ("https://host/v1", 0), ("http://127.0.0.1:8080", 0), ("http://localhost/v1", 0),
            ("http://[::1]:80", 0),
            ("http://host/v1", 1), ("http://127.0.0.1.evil.org", 1), ("http://localhost.evil.org", 1),
        ]
    )
    func warnings(url: String, count: Int) throws {
        #expect(try self.resolve(["--endpoint", url]).service.warnings.count == count)
    }

    @Test(
        "A URL in place of a name says where the service is too, and is the mount's source as it was typed",
        arguments: [
            ("https://host/v1/data", "https://host/v1", "data"),
            ("https://host/data/", "https://host", "data"),
            ("HTTP://host:81/a/b/c%20d%2Fe", "HTTP://host:81/a/b", "c d/e"),
            ("https://host/v1/%C3%BC", "https://host/v1", "ü"), ("https://[::1]:8/x", "https://[::1]:8", "x"),
        ]
    )
    func url(text: String, endpoint: String, name: String) throws {
        var environment = Self.user
        environment.variables["TETHERFS_ENDPOINT"] = "https://environment/v1"
        let configuration = try MountCommand.parse([text, "/"]).configuration(environment)
        #expect(configuration.service.endpoint.url == endpoint)
        #expect((configuration.filesystemName, configuration.sourceName) == (name, text))
    }

    @Test(
        "A URL that no filesystem can be at is refused, without what it holds",
        arguments: [
            "https://host", "https://", "https:///x", "https://joe:word@host/x", "https://host/v1/x?word",
            "https://host/x#word", "https://host/word%2", "https://host/word%zz", "https://host/word%FF",
        ]
    )
    func badURL(text: String) {
        let error = #expect(throws: UserError.self) {
            try MountCommand.parse([text, "/"]).configuration(Self.user)
        }
        #expect(error?.description.contains("word") == false)
    }

    @Test("A URL and another endpoint beside it are one too many", arguments: [["--endpoint"], ["-o"]])
    func twoEndpoints(flag: [String]) throws {
        let value = flag == ["-o"] ? "endpoint=https://b" : "https://b"
        let command = try MountCommand.parse(["https://a/x", "/"] + flag + [value])
        #expect(throws: UserError.self) { try command.configuration(Self.user) }
    }

    @Test("A mount point that mount.fuse3 made for drop_privileges is refused by that name")
    func droppedPrivileges() throws {
        let error = #expect(throws: UserError.self) {
            try MountCommand.parse(["data", "/dev/fd/4"]).configuration(Self.user)
        }
        #expect(error?.description.contains("drop_privileges") == true)
    }
}
