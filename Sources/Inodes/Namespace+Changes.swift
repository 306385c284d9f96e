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
            entry.facts.content = state.makeContentID(at: self.now())
            // A listing may have brought another one meanwhile, which the upload then finds.
            if let other = state.take(name, from: parent), other.kind == .file {
                entry.isOnServer = other.isOnServer
            }
            state.make(parent) { $0.add(name, entry) }
            state.insert(Node(kind: .file, parent: parent, name: name, pinCount: 1), as: entry.inode)
            state.evict()
            state.touch(entry.inode, at: time)
            state.touch(parent, at: time)
            return entry.inode
        }
    }

    /// A directory was made on the service; it is known to be empty.
    public func addDirectory(_ name: FileName, in parent: InodeNumber, at time: FileTime) -> InodeNumber {
        self.state.withLock { state in
            if let entry = state.directories[parent]?[name], entry.kind == .directory {
                // A listing was faster: somebody may have made something in it since.
                state.update(parent) { $0.noteChange(of: name) }
                state.makeNode(of: entry, name, in: parent)
                state.touch(entry.inode, at: time)
                state.touch(parent, at: time)
                return entry.inode
            }
            let entry = Entry(kind: .directory, inode: state.makeInode())
            state.take(name, from: parent)
            state.make(parent) { $0.add(name, entry) }
            state.insert(Node(kind: .directory, parent: parent, name: name), as: entry.inode)
            state.make(entry.inode) { directory in
                directory.listedAsOf = self.now()
                directory.hasRecalled = true
            }
            // Of one that was there before and went unseen.
            if let path = state.path(of: entry.inode) { state.store.remove(path) }
            state.use(entry.inode)
            state.evict()
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
            let entry = state.take(name, from: parent)
            if entry != nil { state.touch(parent, at: time) }
            // Also where it went from here before, as in a rename.
            if entry?.isOnServer != false { state.update(parent) { $0.noteDeletion(of: name) } }
        }
    }

    /// Bytes were written to a file here; the kernel takes it for at least so large.
    public func didWrite(_ inode: InodeNumber, size: UInt64, at time: FileTime) {
        self.state.withLock { state in
            guard let node = state.nodes[inode] else { return }
            state.tell(inode, size: max(node.toldSize, size))
            // Of which size it will be is not known yet.
            state.override(inode) { $0.size = nil }
            state.touch(inode, at: time)
            state.updateEntry(of: inode) { $0.isHeld = true }
        }
    }

    /// Whether bytes of a file in a directory wait here.
    public func holdsUnsentFile(_ directory: InodeNumber) -> Bool {
        self.state.withLock { state in
            state.directories[directory]?.holdsUnsentFile ?? false
        }
    }

    /// Bytes of a file begin, or cease, to wait here.
    public func setHeld(_ inode: InodeNumber, _ isHeld: Bool) {
        self.state.withLock { state in state.updateEntry(of: inode) { $0.isHeld = isHeld } }
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

    /// The kernel did not hear that a version of a file was about to be read: which its pages are of is not known.
    public func forgetServed(_ inode: InodeNumber) {
        self.state.withLock { $0.nodes[inode]?.servedContent = nil }
    }

    /// An upload of a file ended in doubt: the service may have it now.
    public func mayBeOnServer(_ inode: InodeNumber) {
        self.state.withLock { state in state.updateEntry(of: inode) { $0.isOnServer = true } }
    }

    /// Nothing is known of a file's bytes any more.
    public func forgetVersion(of inode: InodeNumber) {
        self.state.withLock { state in
            let epoch = state.makeEpoch()
            state.updateFacts(of: inode) { $0.forgetContent(epoch) }
        }
    }

    /// Whether the service has a file, as far as we know.
    public func isOnServer(_ inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard let node = state.nodes[inode], let entry = state.directories[node.parent]?[node.name]
            else { return false }
            return entry.inode == inode && entry.isOnServer
        }
    }

    /// Whether the service has what a directory's snapshot shows, as far as we know.
    public func isOnServer(_ dirent: Dirent, in parent: InodeNumber) -> Bool {
        self.state.withLock { $0.directories[parent]?[dirent.name]?.isOnServer ?? false }
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
            let content = state.makeContentID(at: self.now())
            guard let node = state.nodes[inode], !node.isDetached,
                var entry = state.directories[node.parent]?[node.name], entry.inode == inode
            else { return content }
            entry.isOnServer = true
            entry.isHeld = isHeld
            state.nodes[inode]?.servedContent = content
            entry.facts.size = size
            entry.facts.sizeAsOf = self.now()
            entry.facts.content = content
            entry.facts.epoch = state.makeEpoch()
            state.update(node.parent) { $0.add(node.name, entry) }
            if state.overrides[inode] != nil { state.override(inode) { $0.size = size } }
            state.save(inode)
            state.evict()
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
            guard var entry = state.directories[parent]?[name] else { return }
            if let replaced = state.directories[newParent]?[newName], replaced.inode != entry.inode {
                // The service may still have the replaced file under that name, until ours is uploaded.
                if replaced.isOnServer { entry.isOnServer = true }
                state.take(newName, from: newParent)
            }
            entry.facts.epoch = state.makeEpoch()
            state.update(parent) { $0.remove(name) }
            state.make(newParent) { $0.add(newName, entry) }
            state.move(entry.inode, to: newParent, newName)
            state.touch(parent, at: time)
            state.touch(newParent, at: time)
            if let from = state.path(of: parent)?.appending(name), let to = state.path(of: entry.inode) {
                state.store.move(from, to: to)
            }
            state.override(entry.inode) { $0.changeTime = time }
        }
    }
}

extension Namespace.State {
    /// Changes what is known of a name by what has it.
    fileprivate mutating func updateEntry(of inode: InodeNumber, _ change: (inout Entry) -> Void) {
        guard let node = self.nodes[inode], !node.isDetached,
            var entry = self.directories[node.parent]?[node.name], entry.inode == inode
        else { return }
        change(&entry)
        self.update(node.parent) { $0[node.name] = entry }
    }
}
