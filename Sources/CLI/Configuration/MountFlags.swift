import ArgumentParser

/// The flags that only `mount` has.
struct MountFlags: ParsableArguments {
    @Option(
        name: .customLong("cache-dir"),
        help: ArgumentHelp(
            "What was fetched, and the log (default /var/cache/tetherfs for root, else ~/.cache/tetherfs).",
            valueName: "dir"
        )
    )
    var cacheDirectory: String?

    @Option(
        name: .customLong("metadata-ttl"),
        help: ArgumentHelp("How long listings and sizes are believed (default 10).", valueName: "seconds")
    )
    var metadataTTL: String?

    @Option(
        name: .customLong("block-ttl"),
        help: ArgumentHelp(
            "How long bytes are believed while a size stays (default 3600).",
            valueName: "seconds"
        )
    )
    var blockTTL: String?

    @Option(
        help: ArgumentHelp(
            "Memory for what is kept (default 128M, less on small machines).",
            valueName: "size"
        )
    )
    var memory: String?

    @Option(
        name: .customLong("disk-cache"),
        help: ArgumentHelp("Disk for what was fetched (default 10G; 0: none).", valueName: "size")
    )
    var diskCache: String?

    @Option(
        help: ArgumentHelp(
            "Whether close waits for the server: sync or write-back (default sync).",
            valueName: "mode"
        )
    )
    var writes: String?

    @Option(
        name: .customLong("on-conflict"),
        help: ArgumentHelp(
            "If the server's file changed meanwhile: keep-both or last-writer-wins (default keep-both).",
            valueName: "choice"
        )
    )
    var onConflict: String?

    @Option(
        name: .customLong("temporary-names"),
        help: ArgumentHelp(
            "Names of files that programs rename when they are done, with colons between them.",
            valueName: "pattern[:pattern...]"
        )
    )
    var temporaryNames: String?

    @Option(
        name: .customLong("temporary-delay"),
        help: ArgumentHelp(
            "How long those wait here for that (default: 30 with write-back, else 0: not at all).",
            valueName: "seconds"
        )
    )
    var temporaryDelay: String?

    @Option(
        name: .customLong("rename-limit"),
        help: ArgumentHelp("The largest directory that is moved at once (default 1G).", valueName: "size")
    )
    var renameLimit: String?

    @Option(
        name: .customLong("metrics-listen"),
        help: ArgumentHelp(
            "Serve metrics by HTTP: 127.0.0.1:PORT, [::1]:PORT or a socket's path (see stats).",
            valueName: "address"
        )
    )
    var metricsListen: String?

    @Flag(help: "Take the server's files for ones that never change.")
    var immutable = false

    @Flag(help: "Stay in front and log to stderr.")
    var foreground = false

    @Flag(help: "Allow no change.")
    var readOnly = false

    @Flag(help: "Let other users in (needs user_allow_other in /etc/fuse.conf unless root).")
    var allowOther = false

    @Option(help: ArgumentHelp("The owner that files show (default: you).", valueName: "number"))
    var uid: String?

    @Option(help: ArgumentHelp("The group that files show (default: yours).", valueName: "number"))
    var gid: String?

    @Option(
        help: ArgumentHelp(
            "Permission bits that nothing has (files 0666, directories 0777).",
            valueName: "octal"
        )
    )
    var umask: String?

    @Option(
        help: ArgumentHelp("Permission bits that files lack, of 0777; beats --umask.", valueName: "octal")
    )
    var fmask: String?

    @Option(help: ArgumentHelp("Permission bits that directories lack; beats --umask.", valueName: "octal"))
    var dmask: String?

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "The options above without dashes, and those of mount(8): -o ro,allow_other,umask=022.",
            valueName: "option[,option...]"
        )
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
    /// - Returns: Them, and what `-o` had for the kernel.
    /// - Throws: If `-o` or a configuration file has a mistake.
    func layers(
        _ connection: ConnectionOptions,
        _ environment: Environment
    ) throws(UserError) -> (layers: SettingLayers, kernelOptions: [String]) {
        let options = try MountOptionsParser(self.options)
        let flags = connection.settings.merging(self.settings) { $1 }
        let layers = try SettingLayers(given: [flags, options.settings], environment: environment)
        return (layers, options.kernelOptions)
    }
}
