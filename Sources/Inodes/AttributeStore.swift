import Primitives
import WireFormat

/// What a program set and the service cannot keep; nothing where it set nothing.
public struct SetAttributes: Sendable, Hashable {
    /// Permission bits.
    public var mode: UInt32?
    /// Owner.
    public var userID: UInt32?
    /// Group.
    public var groupID: UInt32?
    /// Last access.
    public var accessTime: FileTime?
    /// Last change of the content.
    public var modificationTime: FileTime?
    /// Last change of content or attributes.
    public var changeTime: FileTime?
    /// The size in bytes of the file that these are of, where it is known; nothing for a directory.
    public var size: UInt64?

    /// Nothing is set.
    public init() {}
}

/// What is remembered of a file or directory beyond the mount.
public struct RememberedAttributes: Sendable, Hashable {
    /// The number that it has and keeps: `git` takes a file with another one for changed.
    public var inode: InodeNumber
    /// What was set.
    public var set: SetAttributes

    /// Makes a set.
    public init(inode: InodeNumber, set: SetAttributes) {
        self.inode = inode
        self.set = set
    }
}

/// Keeps what programs set of files and directories, by their paths.
///
/// Changes are made in the order of the calls, which wait for nothing and are made with a lock held; a question is
/// answered as all changes before it leave things.
public protocol AttributeStore: Sendable {
    /// A number above all that are remembered.
    var firstFreeInode: UInt64 { get }

    /// What is remembered of all that is in a directory; the root is in none.
    func attributes(in directory: RemotePath) async -> [FileName: RememberedAttributes]

    /// What is remembered of one file or directory.
    func attributes(of path: RemotePath) async -> RememberedAttributes?

    /// Remembers something of a path, in place of what was.
    func put(_ attributes: RememberedAttributes, of path: RemotePath)

    /// Forgets a path and all below it.
    func remove(_ path: RemotePath)

    /// What is remembered of a path and of all below it is of another path now, under which nothing is remembered any
    /// more. Nothing happens if it was moved already.
    func move(_ path: RemotePath, to newPath: RemotePath)
}
