import Glibc
import WireFormat

/// When what was written is on the service, and what happens where that meets somebody else's change.
public struct WriteOptions: Sendable {
    /// When close(2) and fsync(2) return.
    public enum Mode: String, CaseIterable, Sendable {
        /// When the service has the file.
        case sync
        /// When the local disk has the bytes and their record; they are uploaded in the background.
        case writeBack = "write-back"
    }

    /// What becomes of bytes that wait, if the service's file is not the one that they were written over.
    public enum OnConflict: String, CaseIterable, Sendable {
        /// They are uploaded beside it, under a name that says so.
        case keepBoth = "keep-both"
        /// They replace it.
        case lastWriterWins = "last-writer-wins"
    }

    /// When close(2) and fsync(2) return.
    public var mode: Mode
    /// What becomes of bytes that wait, if the service's file is not the one that they were written over.
    public var onConflict: OnConflict
    /// Names that programs give to what they rename when it is done.
    public var temporaryNames: TemporaryNames
    /// How long a file of such a name waits for that before it is uploaded; zero if it does not wait.
    public var temporaryDelay: Duration
    /// The largest directory that rename(2) moves, in bytes of its files.
    public var renameLimit: UInt64
    /// How much of the local disk the staged bytes of uploaded files may take that are kept for reads and renames.
    public var retainedByteLimit: UInt64
    /// How many files may wait for their upload before close(2) waits for some of them.
    public var waitingLimit = 4096
    /// How long close(2) waits for that at most, and rename(2) for what it replaces; they succeed all the same.
    public var longestWait = Duration.seconds(10)
    /// How long after the first of some uploads was given up they are deleted from the service, if it lists them: most
    /// are given up in the moment before another one is begun of the same file.
    public var givenUpDelay = Duration.seconds(1)
    /// How long the rename of a directory that an earlier mount began is tried again without getting on: who wants to
    /// change something below that waits.
    public var persistence = Duration.seconds(300)
    /// How many bytes of writes that cannot be taken at once are held in memory; what is more is on the local disk.
    public var heldByteLimit = 16 << 20
    /// Whether the service's files never change, so that what was read of them holds for good.
    public var isImmutable: Bool

    /// Makes a set; what is not given is as the command has it.
    public init(
        mode: Mode = .sync,
        onConflict: OnConflict = .keepBoth,
        temporaryNames: TemporaryNames = .standard,
        temporaryDelay: Duration? = nil,
        renameLimit: UInt64 = 1 << 30,
        retainedByteLimit: UInt64 = 2 << 30,
        isImmutable: Bool = false
    ) {
        self.mode = mode
        self.onConflict = onConflict
        self.temporaryNames = temporaryNames
        self.temporaryDelay = temporaryDelay ?? Self.temporaryDelay(of: mode)
        self.renameLimit = renameLimit
        self.retainedByteLimit = retainedByteLimit
        self.isImmutable = isImmutable
    }

    /// How long a file of a temporary name waits if nobody says otherwise: in `sync` close(2) means that the service
    /// has it.
    public static func temporaryDelay(of mode: Mode) -> Duration { mode == .sync ? .zero : .seconds(30) }

    /// Whether a file of this name is to wait for its other name.
    func defers(_ name: FileName) -> Bool { self.temporaryDelay > .zero && self.temporaryNames.contain(name) }
}

/// Names that programs give to a file while they write it, as patterns of a shell.
public struct TemporaryNames: Sendable, Hashable {
    /// The patterns, as fnmatch(3) has them.
    public let patterns: [String]

    /// Takes patterns.
    public init(_ patterns: [String]) {
        self.patterns = patterns
    }

    /// Takes patterns with colons between them.
    public init(text: String) {
        self.init(text.split(separator: ":").map(String.init))
    }

    /// Those of rsync, git, GLib, vim, sed, browsers and what most others do.
    public static let standard = TemporaryNames([
        ".*.??????", "tmp_obj_*", "tmp_pack_*", "tmp_idx_*", "*.lock", ".goutputstream-*", "4913", "*~",
        "*.sw?",
        ".#*", "sed??????", "*.tmp", "*.temp", "*.part", "*.partial", "*.crdownload",
    ])

    /// Whether a name is one of them.
    public func contain(_ name: FileName) -> Bool {
        self.patterns.contains { fnmatch($0, name.string, 0) == 0 }
    }
}
