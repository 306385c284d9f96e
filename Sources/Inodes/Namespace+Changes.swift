import Primitives
import RemoteAPI
import WireFormat

// Our own changes: the service has made them, or will once bytes are uploaded, and no listing is asked for them.

extension Namespace {
    /// A file is made here; the service gets it with its first upload.
    ///
    /// - Returns: Its number, pinned once.
    public func addLocalFile(_ name: FileName, in parent: InodeNumber, at time: FileTime) -> InodeNumber {
        self.state.withLock { state in
            var entry = Entry(kind: .file, inode: state.makeInode(), isOnServer: false, isHeld: true)
            entry.facts.size = 0
            entry.facts.content = state.makeContentID()
            state.directories[parent, default: Directory()].add(name, entry)
            state.nodes[entry.inode] = Node(kind: .file, parent: parent, name: name, pinCount: 1)
            state.touch(entry.inode, at: time)
            state.touch(parent, at: time)
            return entry.inode
        }
    }

    /// A directory was made on the service; it is known to be empty.
    public func addDirectory(_ name: FileName, in parent: InodeNumber, at time: FileTime) -> InodeNumber {
        self.state.withLock { state in
            let entry = Entry(kind: .directory, inode: state.makeInode())
            state.directories[parent, default: Directory()].add(name, entry)
            var directory = Directory()
            directory.listedAsOf = self.now()
            state.directories[entry.inode] = directory
            state.nodes[entry.inode] = Node(kind: .directory, parent: parent, name: name)
            state.touch(entry.inode, at: time)
            state.touch(parent, at: time)
            return entry.inode
        }
    }

    /// A name is gone from its directory; who has it open keeps it.
    ///
    /// - Parameters:
    ///   - name: The name.
    ///   - parent: Its directory.
    ///   - time: When the directory changed by it.
    public func remove(_ name: FileName, in parent: InodeNumber, at time: FileTime) {
        self.state.withLock { state in
            guard let entry = state.directories[parent]?.entries[name] else { return }
            state.directories[parent]?.remove(name)
            state.detachReplaced(entry, name, in: parent)
            state.touch(parent, at: time)
        }
    }

    /// The kernel is told a file's size.
    public func tell(_ inode: InodeNumber, size: UInt64) {
        self.state.withLock { $0.nodes[inode]?.toldSize = size }
    }

    /// The size that the kernel takes a file to have: a read that ends before it is shown as zeros.
    public func toldSize(of inode: InodeNumber) -> UInt64 {
        self.state.withLock { $0.nodes[inode]?.toldSize ?? 0 }
    }

    /// Bytes were written to a file here; the kernel takes it for at least so large.
    public func didWrite(_ inode: InodeNumber, size: UInt64, at time: FileTime) {
        self.state.withLock { state in
            guard let node = state.nodes[inode] else { return }
            state.nodes[inode]?.toldSize = max(node.toldSize, size)
            state.touch(inode, at: time)
            if !node.isDetached, state.directories[node.parent]?.entries[node.name]?.inode == inode {
                state.directories[node.parent]?.entries[node.name]?.isHeld = true
            }
        }
    }

    /// Whether bytes of a file in a directory wait here.
    public func holdsUnsentFile(_ directory: InodeNumber) -> Bool {
        self.state.withLock { state in
            state.directories[directory]?.entries.values.contains { $0.isHeld } ?? false
        }
    }

    /// Bytes of a file begin, or cease, to wait here.
    public func setHeld(_ inode: InodeNumber, _ isHeld: Bool) {
        self.updateEntry(of: inode) { $0.isHeld = isHeld }
    }

    /// The kernel is about to read a version of a file.
    ///
    /// - Returns: Whether its pages are of that version already, so that it may keep them.
    public func serve(_ content: ContentID, of inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            defer { state.nodes[inode]?.servedContent = content }
            return state.nodes[inode]?.servedContent == content
        }
    }

    /// A file's version is not believed any more: its size is asked for before the next use.
    public func expireVersion(of inode: InodeNumber) {
        self.state.withLock { state in
            state.updateFacts(of: inode) { $0.sizeAsOf = nil }
        }
    }

    /// An upload of a file ended in doubt: the service may have it now.
    public func mayBeOnServer(_ inode: InodeNumber) {
        self.updateEntry(of: inode) { $0.isOnServer = true }
    }

    /// Nothing is known of a file's bytes any more.
    public func forgetVersion(of inode: InodeNumber) {
        self.state.withLock { state in
            // The size stays: it is what the kernel was told, and holds for no time.
            state.updateFacts(of: inode) { facts in
                facts.sizeAsOf = nil
                facts.content = nil
                facts.epoch += 1
            }
        }
    }

    /// Whether the service has a file, as far as we know.
    public func isOnServer(_ inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard let node = state.nodes[inode] else { return false }
            return state.directories[node.parent]?.entries[node.name]?.isOnServer ?? false
        }
    }

    /// Whether the service has what a directory's snapshot shows, as far as we know.
    public func isOnServer(_ dirent: Dirent, in parent: InodeNumber) -> Bool {
        self.state.withLock { $0.directories[parent]?.entries[dirent.name]?.isOnServer ?? false }
    }

    /// An upload of a file was completed.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - size: The size that the service has now, in bytes.
    ///   - isHeld: Whether newer bytes wait here.
    /// - Returns: The new version.
    @discardableResult
    public func didUpload(_ inode: InodeNumber, size: UInt64, isHeld: Bool) -> ContentID {
        self.state.withLock { state in
            let content = state.makeContentID()
            guard let node = state.nodes[inode], !node.isDetached,
                var entry = state.directories[node.parent]?.entries[node.name]
            else { return content }
            entry.isOnServer = true
            entry.isHeld = isHeld
            state.nodes[inode]?.servedContent = content
            entry.facts.size = size
            entry.facts.sizeAsOf = self.now()
            entry.facts.content = content
            entry.facts.epoch += 1
            state.directories[node.parent]?.add(node.name, entry)
            return content
        }
    }

    /// A file or directory has another name now, in place of what had that name before.
    public func move(
        _ name: FileName,
        in parent: InodeNumber,
        to newName: FileName,
        in newParent: InodeNumber,
        at time: FileTime
    ) {
        self.state.withLock { state in
            guard var entry = state.directories[parent]?.entries[name] else { return }
            if let replaced = state.directories[newParent]?.entries[newName], replaced.inode != entry.inode {
                // The service may still have the replaced file under that name, until ours is uploaded.
                if replaced.isOnServer { entry.isOnServer = true }
                state.directories[newParent]?.remove(newName)
                state.detachReplaced(replaced, newName, in: newParent)
            }
            entry.facts.epoch += 1
            state.directories[parent]?.remove(name)
            state.directories[newParent, default: Directory()].add(newName, entry)
            state.nodes[entry.inode]?.parent = newParent
            state.nodes[entry.inode]?.name = newName
            state.touch(parent, at: time)
            state.touch(newParent, at: time)
            state.overrides[entry.inode, default: Overrides()].changeTime = time
        }
    }

    private func updateEntry(of inode: InodeNumber, _ change: (inout Entry) -> Void) {
        self.state.withLock { state in
            guard let node = state.nodes[inode], !node.isDetached,
                var entry = state.directories[node.parent]?.entries[node.name], entry.inode == inode
            else { return }
            change(&entry)
            state.directories[node.parent]?.entries[node.name] = entry
        }
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

    /// The names of a directory, in order, as they are known now.
    public func snapshot(_ directory: InodeNumber) -> [Dirent] {
        self.state.withLock { state in
            guard var known = state.directories[directory] else { return [] }
            state.directories[directory] = nil
            defer { state.directories[directory] = known }
            return known.orderedNames().compactMap { name in
                known.entries[name].map { Dirent(name: name, inode: $0.inode, kind: $0.kind) }
            }
        }
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
            guard let directory = state.directories[parent], let entry = directory.entries[dirent.name],
                entry.inode == dirent.inode
            else { return nil }
            guard entry.kind == .directory || self.isFresh(entry.facts.sizeAsOf), !entry.isHeld else {
                return nil
            }
            state.node(for: entry, dirent.name, in: parent)
            guard let attributes = self.attributes(of: entry.inode, state) else { return nil }
            state.nodes[entry.inode]?.lookupCount += 1
            state.nodes[entry.inode]?.toldSize = attributes.size
            return (
                attributes, self.remaining(directory.listedAsOf),
                entry.kind == .directory ? self.timeToLive : self.remaining(entry.facts.sizeAsOf)
            )
        }
    }
}
