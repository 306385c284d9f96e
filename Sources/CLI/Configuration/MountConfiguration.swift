import Logging
import RemoteAPI
import VFS

/// Everything that a mount is made with, resolved: nothing after it looks at flags or the environment.
struct MountConfiguration: Sendable {
    /// How the service is reached.
    var service: ServiceConfiguration
    /// FILESYSTEM as it was typed, byte for byte: the mount's source in /proc/self/mounts.
    var sourceName: String
    /// The filesystem's name or id.
    var filesystemName: String
    /// The mount point's absolute path, links followed.
    var mountPoint: String
    /// Where the driver may keep what can be fetched again, and its log. Absolute; it may not exist yet.
    var cacheDirectory: String
    /// How long a listing, an attribute or an absence is believed.
    var metadataTTL: Duration
    /// How long bytes are believed while their file's size stays the same.
    var blockTTL: Duration
    /// What all that is kept in memory may take, in bytes.
    var memoryByteCount: Int
    /// What blocks may take on the disk, in bytes; 0 if none are kept there.
    var diskCacheByteCount: Int
    /// When what is written goes to the service, and what becomes of it there.
    var writes: WriteOptions
    /// Where metrics are served by HTTP, if anywhere.
    var metricsAddress: MetricsAddress?
    /// Whether the process stays in front.
    var isForeground: Bool
    /// Whether nothing can be changed.
    var isReadOnly: Bool
    /// Whether users other than the one who mounts can use it.
    var allowsOthers: Bool
    /// The owner that files show.
    var userID: UInt32
    /// The group that files show.
    var groupID: UInt32
    /// The permission bits that files show.
    var fileMode: UInt32
    /// The permission bits that directories show.
    var directoryMode: UInt32
    /// The permission bits that no new file gets.
    var fileMask: UInt32
    /// The permission bits that no new directory gets.
    var directoryMask: UInt32
    /// Options for the kernel: `nodev`, `noatime`, `default_permissions` and the like; not `ro` or `allow_other`.
    var kernelOptions: [String]

    /// Resolves the layers.
    ///
    /// - Parameters:
    ///   - source: FILESYSTEM.
    ///   - mountPoint: An absolute path, links followed.
    ///   - layers: The settings.
    ///   - kernelOptions: What `-o` had for the kernel.
    ///   - environment: Whose command it is.
    ///   - needsKey: Whether it is an error that no key is named.
    /// - Throws: Names the setting that cannot be, and where it was made.
    init(
        source: MountSource,
        mountPoint: String,
        layers: SettingLayers,
        kernelOptions: [String],
        environment: Environment,
        needsKey: Bool = true
    ) throws(UserError) {
        self.service = try ServiceConfiguration(layers, environment: environment, needsKey: needsKey)
        self.sourceName = source.text
        self.filesystemName = source.filesystem
        self.mountPoint = mountPoint
        guard let cache = layers[.cacheDirectory]?.text ?? environment.defaultCacheDirectory, !cache.isEmpty
        else {
            throw UserError("there is no home directory to keep a cache in: name a place with --cache-dir")
        }
        self.cacheDirectory = FilePath.absolute(cache)
        self.metadataTTL = try layers.duration(.metadataTTL, default: .seconds(10), isZeroAllowed: true)
        self.blockTTL = try layers.duration(.blockTTL, default: .seconds(3600), isZeroAllowed: true)
        self.memoryByteCount = try layers.byteCount(
            .memory,
            default: MemoryBudget.automatic(),
            in: MemoryBudget.least...(1 << 40)
        )
        self.diskCacheByteCount = try layers.byteCount(.diskCache, default: 10 << 30, in: 0...(1 << 50))
        self.writes = try Self.writes(layers)
        self.writes.retainedByteLimit = min(2 << 30, UInt64(max(0, self.diskCacheByteCount - 4 << 20)) / 8)
        // An eighth of the memory, as each takes some 3 KiB.
        self.writes.waitingLimit = self.memoryByteCount / 8 / (3 << 10)
        self.writes.heldByteLimit = self.memoryByteCount / 8
        self.metricsAddress = try layers.metricsAddress(.metricsListen)
        self.isForeground = layers.isOn(.foreground)
        self.isReadOnly = layers.isOn(.readOnly)
        self.allowsOthers = layers.isOn(.allowOther)
        self.userID = try layers.identity(.uid, default: environment.userID)
        self.groupID = try layers.identity(.gid, default: environment.groupID)
        let umask = try layers.mask(.umask)
        let fmask = try layers.mask(.fmask)
        let dmask = try layers.mask(.dmask)
        self.fileMode = fmask.map { 0o777 & ~$0 } ?? umask.map { 0o666 & ~$0 } ?? 0o644
        self.directoryMode = dmask.map { 0o777 & ~$0 } ?? umask.map { 0o777 & ~$0 } ?? 0o755
        self.fileMask = fmask ?? umask ?? 0
        self.directoryMask = dmask ?? umask ?? 0
        self.kernelOptions = kernelOptions
    }

    /// Resolves the layers for somebody who looks at them alone, and mounts nothing.
    ///
    /// - Throws: As for a mount.
    init(unmounted layers: SettingLayers, environment: Environment, needsKey: Bool = true) throws(UserError) {
        try self.init(
            source: MountSource(layers[.filesystem]?.text ?? "-"),
            mountPoint: "/",
            layers: layers,
            kernelOptions: [],
            environment: environment,
            needsKey: needsKey
        )
    }

    private static func writes(_ layers: SettingLayers) throws(UserError) -> WriteOptions {
        let mode = try layers.choice(.writes, default: WriteOptions.Mode.sync)
        return WriteOptions(
            mode: mode,
            onConflict: try layers.choice(.onConflict, default: .keepBoth),
            temporaryNames: layers[.temporaryNames].map { TemporaryNames(text: $0.text) } ?? .standard,
            temporaryDelay: try layers.duration(
                .temporaryDelay,
                default: WriteOptions.temporaryDelay(of: mode),
                isZeroAllowed: true
            ),
            renameLimit: UInt64(try layers.byteCount(.renameLimit, default: 1 << 30, in: 0...(1 << 50))),
            isImmutable: layers.isOn(.immutable)
        )
    }

    /// How long the start may take until the mount answers: systemd gives a mount 90 s by default, people less.
    var startLimit: Duration {
        max(.seconds(30), self.service.requestTimeout + .seconds(5))
    }

    /// What the log's first line says.
    var logMetadata: Logger.Metadata {
        [
            "filesystem": "\(self.sourceName)", "mountpoint": "\(self.mountPoint)",
            "server": "\(self.service.endpoint)", "version": "\(TetherfsCommand.configuration.version)",
        ]
    }

    /// Where the driver's log goes when it runs on its own outside systemd.
    var logFile: String {
        // 240: a file's name has at most 255 bytes, and `.log.1` comes after.
        "\(self.cacheDirectory)/log/\(FilePath.nameStanding(for: self.mountPoint, limit: 240)).log"
    }
}
