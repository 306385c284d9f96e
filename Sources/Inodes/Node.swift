import Glibc
import Primitives
import RemoteAPI
import WireFormat

/// What the kernel or an open handle knows by number.
struct Node {
    /// The directory it is in and its name there; after an unlink, where it was.
    var parent: InodeNumber
    var name: FileName
    /// How often the kernel was told of it and has not forgotten it (FUSE's lookup count).
    var lookupCount: UInt64 = 0
    /// The size that the kernel takes the file to have, in bytes.
    var toldSize: UInt64 = 0
    /// The version whose pages the kernel may hold.
    var servedContent: ContentID?
    let kind: EntryKind
    /// Whether its name is gone while the kernel or a handle still has it.
    var isDetached = false
    /// What else keeps it: open handles, bytes not uploaded.
    var pinCount: Int32
    /// How many nodes are in it, if it is a directory: their paths go through it.
    var childCount: Int32 = 0

    init(kind: EntryKind, parent: InodeNumber, name: FileName, lookupCount: UInt64 = 0, pinCount: Int32 = 0) {
        self.kind = kind
        self.parent = parent
        self.name = name
        self.lookupCount = lookupCount
        self.pinCount = pinCount
    }

    /// What it takes in memory, in bytes, about.
    var byteCount: Int { Self.ownByteCount + self.name.heapByteCount }

    /// A place of a table that is three quarters full at most, and often less.
    private static let ownByteCount = (MemoryLayout<InodeNumber>.stride + MemoryLayout<Node>.stride) * 3 / 2
}

extension FileName {
    /// What a name takes beside its value, in which up to 15 bytes lie.
    fileprivate var heapByteCount: Int {
        let count = self.string.utf8.count
        return count > 15 ? count + 48 : 0
    }
}

/// A point in time as stat(2) gives it.
public struct FileTime: Hashable, Comparable, Sendable {
    /// Seconds since 1970.
    public var seconds: Int64
    /// Nanoseconds beyond them, below 10^9.
    public var nanoseconds: Int64

    /// Makes a time.
    public init(seconds: Int64, nanoseconds: Int64) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The time now.
    public static func now() -> FileTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return FileTime(seconds: Int64(time.tv_sec), nanoseconds: Int64(time.tv_nsec))
    }

    /// Earlier comes first.
    public static func < (left: FileTime, right: FileTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }
}

/// What stat(2) shows.
public struct FileAttributes: Sendable, Hashable {
    /// The number.
    public var inode: InodeNumber
    /// File or directory.
    public var kind: EntryKind
    /// Whether it has no name any more.
    public var isUnlinked: Bool
    /// Bytes; 0 for directories.
    public var size: UInt64
    /// Permission bits only.
    public var mode: UInt32
    /// Owner.
    public var userID: UInt32
    /// Group.
    public var groupID: UInt32
    /// Last access, as far as a program set it.
    public var accessTime: FileTime
    /// Last change of the content.
    public var modificationTime: FileTime
    /// Last change of content or attributes.
    public var changeTime: FileTime
}

/// What files and directories have where no program set anything: the service has no modes, owners or times.
public struct DefaultAttributes: Sendable {
    /// Owner of everything.
    public var userID: UInt32
    /// Group of everything.
    public var groupID: UInt32
    /// Permission bits of files.
    public var fileMode: UInt32
    /// Permission bits of directories.
    public var directoryMode: UInt32
    /// Permission bits that a file does not get when it is made.
    public var fileMask: UInt32
    /// Permission bits that a directory does not get when it is made.
    public var directoryMask: UInt32
    /// The time that everything bears: when the first mount began that remembers the same.
    public var time: FileTime

    /// Makes a set.
    public init(
        userID: UInt32,
        groupID: UInt32,
        fileMode: UInt32,
        directoryMode: UInt32,
        fileMask: UInt32 = 0,
        directoryMask: UInt32 = 0,
        time: FileTime
    ) {
        self.userID = userID
        self.groupID = groupID
        self.fileMode = fileMode
        self.directoryMode = directoryMode
        self.fileMask = fileMask
        self.directoryMask = directoryMask
        self.time = time
    }
}

/// What a program asks to be set; nothing where it asks for nothing.
public struct AttributeChange: Sendable {
    /// Permission bits.
    public var mode: UInt32?
    /// Owner.
    public var userID: UInt32?
    /// Group.
    public var groupID: UInt32?
    /// Last access.
    public var accessTime: FileTime?
    /// Last change of content.
    public var modificationTime: FileTime?

    /// Asks for nothing.
    public init() {}
}
