import Primitives
import RemoteAPI
import WireFormat

// What readdir(3) shows, and lookups on its way.

/// The names of a directory at one moment, in byte order: they stay while the directory changes.
public struct DirectorySnapshot: RandomAccessCollection, Sendable {
    let table: NameTable

    /// Always 0.
    public var startIndex: Int { 0 }
    /// How many names there are.
    public var endIndex: Int { self.table.count }

    /// A name, made on demand.
    public subscript(index: Int) -> Namespace.Dirent {
        Namespace.Dirent(
            name: self.table.name(at: index),
            inode: self.table.inode(at: index),
            kind: self.table.kind(at: index)
        )
    }
}

extension Namespace {
    /// One name of a directory as readdir(3) shows it.
    public struct Dirent: Sendable {
        /// The name.
        public let name: FileName
        /// Its number.
        public let inode: InodeNumber
        /// File or directory.
        public let kind: EntryKind
    }

    /// The names of a directory in byte order, as they are known now.
    ///
    /// - Returns: A collection that shares its memory with the listing if nothing changed since that.
    public func snapshot(_ directory: InodeNumber) -> DirectorySnapshot {
        let known = self.state.withLock { state in
            state.use(directory)
            return state.directories[directory]
        }
        return DirectorySnapshot(table: known?.merged() ?? NameTable())
    }

    /// Tells the kernel of a file or directory once more (FUSE's lookup count).
    ///
    /// - Returns: What to tell it; nothing if the name is gone.
    public func countLookup(_ inode: InodeNumber) -> FileAttributes? {
        self.state.withLock { state in
            guard let attributes = self.attributes(of: inode, state) else { return nil }
            state.nodes[inode]?.lookupCount += 1
            return attributes
        }
    }

    /// What a listing may tell the kernel of a name without asking the service: attributes, and how long they hold.
    ///
    /// Counts as a lookup where something is returned.
    public func countKnownDirent(
        _ dirent: Dirent,
        in parent: InodeNumber
    ) -> (attributes: FileAttributes, nameValidFor: Duration, attributesValidFor: Duration)? {
        self.state.withLock { state in
            guard let directory = state.directories[parent], let entry = directory[dirent.name],
                entry.inode == dirent.inode
            else { return nil }
            guard entry.kind == .directory || self.isSizeFresh(entry.facts.sizeAsOf), !entry.isHeld else {
                return nil
            }
            state.makeNode(of: entry, dirent.name, in: parent)
            guard let attributes = self.attributes(of: entry.inode, state) else { return nil }
            state.nodes[entry.inode]?.lookupCount += 1
            state.tell(entry.inode, size: attributes.size)
            return (
                attributes, self.remaining(directory.listedAsOf),
                entry.kind == .directory ? self.timeToLive : self.remainingOfSize(entry.facts.sizeAsOf)
            )
        }
    }
}
