import ArgumentParser
import VFS

/// The flags that only `mount` has.
///
/// Help has a line for each that many need, so that it fits a screen; `--help-hidden` has all, the manual says more.
struct MountFlags: ParsableArguments {
    @Option(
        name: .customLong("cache-dir"),
        help: ArgumentHelp("Keeps what is not uploaded, what was read, the log.", valueName: "dir"),
        completion: .directory
    )
    var cacheDirectory: String?

    @Option(
        name: .customLong("metadata-ttl"),
        help: ArgumentHelp("How long names and sizes are believed (10).", valueName: "s")
    )
    var metadataTTL: String?

    @Option(
        name: .customLong("block-ttl"),
        help: ArgumentHelp(
            "How long bytes are believed while a size stays (3600).",
            valueName: "s",
            visibility: .hidden
        )
    )
    var blockTTL: String?

    @Option(help: ArgumentHelp("Memory for what is kept (128M, or less).", valueName: "size"))
    var memory: String?

    @Option(
        name: .customLong("disk-cache"),
        help: ArgumentHelp("Disk for what was read (10G; 0: none).", valueName: "size")
    )
    var diskCache: String?

    @Option(
        help: ArgumentHelp("sync: close waits for the server; or write-back.", valueName: "mode"),
        completion: .list(WriteOptions.Mode.allCases.map(\.rawValue))
    )
    var writes: String?

    @Option(
        name: .customLong("on-conflict"),
        help: ArgumentHelp("keep-both or last-writer-wins.", valueName: "choice", visibility: .hidden),
        completion: .list(WriteOptions.OnConflict.allCases.map(\.rawValue))
    )
    var onConflict: String?

    @Option(
        name: .customLong("temporary-names"),
        help: ArgumentHelp(
            "Names that programs rename when done, with colons between them.",
            valueName: "patterns",
            visibility: .hidden
        )
    )
    var temporaryNames: String?

    @Option(
        name: .customLong("temporary-delay"),
        help: ArgumentHelp(
            "How long those wait here for that (30 with write-back, else 0).",
            valueName: "s",
            visibility: .hidden
        )
    )
    var temporaryDelay: String?

    @Option(
        name: .customLong("rename-limit"),
        help: ArgumentHelp(
            "The largest directory that is moved at once (1G).",
            valueName: "size",
            visibility: .hidden
        )
    )
    var renameLimit: String?

    @Option(
        name: .customLong("metrics-listen"),
        help: ArgumentHelp("Where to serve metrics, see: tetherfs stats --help.", valueName: "addr")
    )
    var metricsListen: String?

    @Flag(help: ArgumentHelp("Take the server's files for ones that never change.", visibility: .hidden))
    var immutable = false

    @Flag(help: "Stay in front and log to stderr.")
    var foreground = false

    @Flag(help: "Allow no change.")
    var readOnly = false

    @Flag(help: "Let other users in, see: tetherfs doctor.")
    var allowOther = false

    @Option(help: ArgumentHelp("The owner that files show (you).", valueName: "number", visibility: .hidden))
    var uid: String?

    @Option(
        help: ArgumentHelp("The group that files show (yours).", valueName: "number", visibility: .hidden)
    )
    var gid: String?

    @Option(help: ArgumentHelp("Permission bits that nothing has, such as 022.", valueName: "octal"))
    var umask: String?

    @Option(
        help: ArgumentHelp(
            "Permission bits that files lack, of 0777; beats --umask.",
            valueName: "octal",
            visibility: .hidden
        )
    )
    var fmask: String?

    @Option(
        help: ArgumentHelp(
            "Permission bits that directories lack; beats --umask.",
            valueName: "octal",
            visibility: .hidden
        )
    )
    var dmask: String?

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp("These without dashes, and mount(8)'s: ro,umask=022.", valueName: "options")
    )
    var options: [String] = []

    /// What was given.
    var settings: [SettingName: Setting] {
        var settings: [SettingName: Setting] = [:]
        settings.take(.cacheDirectory, self.cacheDirectory)
        settings.take(.metadataTTL, self.metadataTTL)
        settings.take(.blockTTL, self.blockTTL)
        settings.take(.memory, self.memory)
        settings.take(.diskCache, self.diskCache)
        settings.take(.writes, self.writes)
        settings.take(.onConflict, self.onConflict)
        settings.take(.temporaryNames, self.temporaryNames)
        settings.take(.temporaryDelay, self.temporaryDelay)
        settings.take(.renameLimit, self.renameLimit)
        settings.take(.metricsListen, self.metricsListen)
        settings.take(.immutable, self.immutable)
        settings.take(.foreground, self.foreground)
        settings.take(.readOnly, self.readOnly)
        settings.take(.allowOther, self.allowOther)
        settings.take(.uid, self.uid)
        settings.take(.gid, self.gid)
        settings.take(.umask, self.umask)
        settings.take(.fmask, self.fmask)
        settings.take(.dmask, self.dmask)
        return settings
    }

    /// The layers of settings: these flags and those of the connection, `-o`, the environment, the profile.
    ///
    /// - Parameters:
    ///   - connection: The other flags.
    ///   - environment: Whose command it is.
    ///   - endpoint: The service's URL, if it stands in FILESYSTEM.
    /// - Returns: Them, and what `-o` had for the kernel.
    /// - Throws: If `-o` or a configuration file has a mistake, or the endpoint is given twice.
    func layers(
        _ connection: ConnectionOptions,
        _ environment: Environment,
        endpoint: Setting? = nil
    ) throws(UserError) -> (layers: SettingLayers, kernelOptions: [String]) {
        let options = try MountOptionsParser(self.options)
        var flags = connection.settings.merging(self.settings) { $1 }
        if let endpoint {
            if let other = flags[.endpoint] ?? options.settings[.endpoint] {
                throw UserError("\(other.origin) and \(endpoint.origin) both say where the service is")
            }
            flags[.endpoint] = endpoint
        }
        let layers = try SettingLayers(given: [flags, options.settings], environment: environment)
        return (layers, options.kernelOptions)
    }
}
