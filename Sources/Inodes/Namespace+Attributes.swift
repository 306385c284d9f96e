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

    /// Remembers what a program set, for as long as the mount lives.
    ///
    /// - Parameters:
    ///   - inode: Of what.
    ///   - change: What is set.
    ///   - time: The time of the change, which becomes the change time.
    public func setAttributes(of inode: InodeNumber, _ change: AttributeChange, at time: FileTime) {
        self.state.withLock { state in
            var set = state.overrides[inode] ?? Overrides()
            if let mode = change.mode { set.mode = mode & 0o7777 }
            if let userID = change.userID { set.userID = userID }
            if let groupID = change.groupID { set.groupID = groupID }
            if let accessTime = change.accessTime { set.accessTime = accessTime }
            if let modificationTime = change.modificationTime { set.modificationTime = modificationTime }
            set.changeTime = time
            state.overrides[inode] = set
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
}

extension Namespace.State {
    mutating func touch(_ inode: InodeNumber, at time: FileTime) {
        self.overrides[inode, default: Overrides()].modificationTime = time
        self.overrides[inode]?.changeTime = time
    }
}
