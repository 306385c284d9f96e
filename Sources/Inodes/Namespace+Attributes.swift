import Primitives
import RemoteAPI
import WireFormat

extension Namespace {
    /// What stat(2) shows, from what is known: the size is the last one seen, 0 if none was.
    ///
    /// Nothing is returned for a number that is not known.
    public func attributes(of inode: InodeNumber) -> FileAttributes? {
        self.state.withLock { self.attributes(of: inode, $0) }
    }

    func attributes(of inode: InodeNumber, _ state: State) -> FileAttributes? {
        guard let node = state.nodes[inode] else { return nil }
        let kind = node.kind
        let set = state.overrides[inode]
        let changed = set?.modificationTime ?? self.defaults.time
        return FileAttributes(
            inode: inode,
            kind: kind,
            isUnlinked: node.isDetached,
            size: kind == .file ? state.facts(of: inode)?.size ?? 0 : 0,
            mode: set?.mode ?? (kind == .file ? self.defaults.fileMode : self.defaults.directoryMode),
            userID: set?.userID ?? self.defaults.userID,
            groupID: set?.groupID ?? self.defaults.groupID,
            accessTime: set?.accessTime ?? changed,
            modificationTime: changed,
            changeTime: set?.changeTime ?? changed
        )
    }

    /// Remembers what a program set.
    ///
    /// - Parameters:
    ///   - inode: Of what.
    ///   - change: What is set.
    ///   - time: The time of the change, which becomes the change time.
    public func setAttributes(of inode: InodeNumber, _ change: AttributeChange, at time: FileTime) {
        self.state.withLock { state in
            state.override(inode) { set in
                if let mode = change.mode { set.mode = mode & 0o7777 }
                if let userID = change.userID { set.userID = userID }
                if let groupID = change.groupID { set.groupID = groupID }
                if let accessTime = change.accessTime { set.accessTime = accessTime }
                if let modificationTime = change.modificationTime { set.modificationTime = modificationTime }
                set.changeTime = time
            }
        }
    }

    /// Remembers what something was made with, as far as the mount's masks let it.
    public func setInitialAttributes(of inode: InodeNumber, _ given: AttributeChange, at time: FileTime) {
        var change = given
        let mask = self.kind(of: inode) == .directory ? self.defaults.directoryMask : self.defaults.fileMask
        change.mode = given.mode.map { $0 & ~mask }
        self.setAttributes(of: inode, change, at: time)
    }

    /// The content of a file, or the names of a directory, changed at that time.
    public func touch(_ inode: InodeNumber, at time: FileTime) {
        self.state.withLock { $0.touch(inode, at: time) }
    }

    // MARK: Beyond the mount

    /// Hands what programs set, and is not remembered yet, to the store.
    ///
    /// What was set of a file whose bytes are still to be sent waits for them, as it is of the size that it gets.
    public func saveAttributes() {
        var rest = self.state.withLock { state in
            state.isSavingDue = false
            return Array(state.unsaved)
        }
        while !rest.isEmpty {
            // A few at a time: the lock is everybody's.
            self.state.withLock { state in
                for inode in rest.suffix(256) { state.save(inode) }
            }
            rest.removeLast(min(256, rest.count))
        }
    }

    /// Hands what programs set of a file to the store, as that of a file of some size: that of the bytes which wait here.
    public func saveAttributes(of inode: InodeNumber, size: UInt64) {
        self.state.withLock { state in
            guard state.overrides[inode] != nil else { return }
            state.override(inode) { $0.size = size }
            state.save(inode)
        }
    }

    /// Takes in what is remembered of the root, or of a file that was added without a listing (a recovered one), in place
    /// of what is set of it.
    ///
    /// - Parameters:
    ///   - inode: Which one.
    ///   - size: The file's size in bytes; nothing for a directory. What is remembered of another size is not taken.
    public func recallAttributes(of inode: InodeNumber, size: UInt64? = nil) async {
        guard let path = self.path(of: inode),
            let remembered = await self.state.withLock(\.store).attributes(of: path)
        else { return }
        self.state.withLock { state in
            guard state.path(of: inode) == path, remembered.set.size == size else { return }
            state.overrides[inode] = remembered.set
        }
    }

    /// A file that an interrupted rename left under both names has under its new one what was set of it under the old.
    ///
    /// - Parameters:
    ///   - old: The file under the old name.
    ///   - new: The file under the new name.
    ///   - size: Its size in bytes.
    ///   - replaces: Whether that counts even where something is set of the new one.
    public func handOverAttributes(from old: InodeNumber, to new: InodeNumber, size: UInt64, replaces: Bool) {
        self.state.withLock { state in
            guard var set = state.overrides[old], replaces || state.overrides[new] == nil else { return }
            set.size = size
            state.override(new) { $0 = set }
        }
    }

    /// From now on what is remembered of names that their directory's listing does not have is forgotten; before, the
    /// files that wait here since an earlier mount may not have been added yet.
    public func forgetUnlisted() {
        self.state.withLock { $0.forgetsUnlisted = true }
    }
}

extension Namespace.State {
    mutating func touch(_ inode: InodeNumber, at time: FileTime) {
        self.override(inode) { set in
            set.modificationTime = time
            set.changeTime = time
        }
    }

    /// Changes what is set of a file or directory; it is saved soon.
    mutating func override(_ inode: InodeNumber, _ change: (inout SetAttributes) -> Void) {
        change(&self.overrides[inode, default: SetAttributes()])
        self.unsaved.insert(inode)
        guard !self.isSavingDue else { return }
        self.isSavingDue = true
        self.saving.yield()
    }

    /// Hands what is set of a file or directory to the store, if it can be: it has a path, and a size if it is a file.
    mutating func save(_ inode: InodeNumber) {
        guard self.unsaved.contains(inode) else { return }
        guard var set = self.overrides[inode], let path = self.path(of: inode), let node = self.nodes[inode]
        else {
            self.unsaved.remove(inode)
            return
        }
        if node.kind == .directory {
            set.size = nil
        } else {
            guard let entry = self.directories[node.parent]?[node.name], entry.inode == inode,
                let size = set.size ?? (entry.isHeld ? nil : entry.facts.size)
            else { return }
            set.size = size
            self.overrides[inode]?.size = size
        }
        self.unsaved.remove(inode)
        self.store.put(RememberedAttributes(inode: inode, set: set), of: path)
    }

    /// What is remembered of a name, and of all below it, is not wanted any more.
    mutating func forgetRemembered(_ name: FileName, _ entry: Entry, in parent: InodeNumber) {
        // Of most files nothing is remembered.
        let mayBe =
            entry.kind == .directory || self.overrides[entry.inode] != nil
            || self.directories[parent]?.hasRecalled != true
        guard mayBe, let path = self.path(of: parent)?.appending(name) else { return }
        self.store.remove(path)
    }

    /// A file was seen to have been replaced by somebody else: what was set was of another one.
    mutating func forgetOutdated(_ inode: InodeNumber, at path: RemotePath?, seen time: FileTime) {
        self.overrides[inode] = nil
        if let path { self.store.remove(path) }
        self.touch(inode, at: time)
    }

    /// Gives a directory that has just been listed what is remembered of its names.
    ///
    /// - Parameters:
    ///   - remembered: What was remembered when the listing was asked for.
    ///   - directory: What is known of it by now.
    ///   - old: What was known of it before.
    ///   - path: Where it is.
    ///   - hidden: Names that are kept out of it.
    mutating func recall(
        _ remembered: [FileName: RememberedAttributes],
        into directory: inout Directory,
        before old: Directory,
        at path: RemotePath,
        hidden: Set<FileName>
    ) {
        directory.hasRecalled = true
        // What was changed since is known better here.
        for (name, attributes) in remembered where !old.changedInFlight.contains(name) {
            guard let entry = directory[name] else {
                if self.forgetsUnlisted, !hidden.contains(name) { self.store.remove(path.appending(name)) }
                continue
            }
            guard self.overrides[entry.inode] == nil else { continue }
            let size = attributes.set.size
            guard (entry.kind == .file) == (size != nil), entry.facts.size.map({ $0 == size }) ?? true else {
                self.store.remove(path.appending(name))
                continue
            }
            var inode = entry.inode
            if old[name]?.inode != inode, attributes.inode.rawValue < self.nextInode,
                self.nodes[attributes.inode] == nil, self.directories[attributes.inode] == nil
            {
                inode = attributes.inode
                directory.identify(directory.index(of: name), as: inode)
            }
            self.overrides[inode] = attributes.set
        }
    }
}
