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
}
