import Inodes
import Logging
import Primitives
import Staging
import WireFormat

/// Remembers what programs set in the journal of the cache directory, for later mounts.
public struct JournaledAttributes: AttributeStore {
    private let journal: Journal
    private let logger: Logger

    /// Takes a journal, and whom to tell if it cannot be read.
    public init(_ journal: Journal, logger: Logger) {
        self.journal = journal
        self.logger = logger
    }

    /// The time of the first mount with this cache directory: no remount makes anything newer.
    public var firstMountTime: FileTime { FileTime(seconds: self.journal.firstMountTime, nanoseconds: 0) }

    /// See `AttributeStore`.
    public var firstFreeInode: UInt64 { self.journal.firstFreeNumber }

    /// See `AttributeStore`.
    public func attributes(in directory: RemotePath) async -> [FileName: RememberedAttributes] {
        do {
            return try await self.journal.attributes(in: directory).mapValues(RememberedAttributes.init)
        } catch {
            self.log(error)
            return [:]
        }
    }

    /// See `AttributeStore`.
    public func attributes(of path: RemotePath) async -> RememberedAttributes? {
        do {
            return try await self.journal.attributes(of: path).map(RememberedAttributes.init)
        } catch {
            self.log(error)
            return nil
        }
    }

    /// See `AttributeStore`.
    public func put(_ attributes: RememberedAttributes, of path: RemotePath) {
        self.journal.putAttributes(StoredAttributes(attributes), of: path)
    }

    /// See `AttributeStore`.
    public func remove(_ path: RemotePath) { self.journal.removeAttributes(of: path) }

    /// See `AttributeStore`; what waits for its upload at these paths follows.
    public func move(_ path: RemotePath, to newPath: RemotePath) {
        self.journal.move(from: path, to: newPath)
    }

    private func log(_ error: any Error) {
        self.logger.error(
            "modes, owners and times that were set before cannot be read",
            metadata: ["cause": "\(error)"]
        )
    }
}

extension RememberedAttributes {
    fileprivate init(_ stored: StoredAttributes) {
        var set = SetAttributes()
        set.mode = stored.mode
        set.userID = stored.userID
        set.groupID = stored.groupID
        set.accessTime = stored.accessTime.map { FileTime($0) }
        set.modificationTime = stored.modificationTime.map { FileTime($0) }
        set.changeTime = stored.changeTime.map { FileTime($0) }
        set.size = stored.size
        self.init(inode: InodeNumber(rawValue: stored.number), set: set)
    }
}

extension StoredAttributes {
    fileprivate init(_ attributes: RememberedAttributes) {
        self.init(number: attributes.inode.rawValue)
        let set = attributes.set
        self.size = set.size
        self.mode = set.mode
        self.userID = set.userID
        self.groupID = set.groupID
        self.accessTime = set.accessTime.map { Time($0) }
        self.modificationTime = set.modificationTime.map { Time($0) }
        self.changeTime = set.changeTime.map { Time($0) }
    }
}

extension FileTime {
    fileprivate init(_ time: StoredAttributes.Time) {
        self.init(seconds: time.seconds, nanoseconds: time.nanoseconds)
    }
}

extension StoredAttributes.Time {
    fileprivate init(_ time: FileTime) {
        self.init(seconds: time.seconds, nanoseconds: time.nanoseconds)
    }
}
