import Primitives
import WireFormat

extension Namespace {
    /// A file whose bytes wait here gets a name beside its own, which stands for what others made of it on the service.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - name: Its new name.
    ///   - leavesFile: Whether the service has another file under its old name.
    /// - Returns: Whether it has it: not if the name is taken, or the file's own is gone.
    public func setAside(_ inode: InodeNumber, as name: FileName, leavesFile: Bool) -> Bool {
        self.state.withLock { state in
            guard let node = state.nodes[inode], !node.isDetached,
                let directory = state.directories[node.parent], directory[name] == nil,
                var entry = directory[node.name], entry.inode == inode
            else { return false }
            let from = state.path(of: inode)
            entry.isOnServer = false
            entry.isHeld = true
            // Nothing of the version on the service is this file's any more.
            entry.facts.content = state.makeContentID(at: self.now())
            entry.facts.sizeAsOf = nil
            entry.facts.epoch = state.makeEpoch()
            state.update(node.parent) { $0.remove(node.name) }
            let other = leavesFile ? Entry(kind: .file, inode: state.makeInode()) : nil
            state.make(node.parent) { directory in
                directory.add(name, entry)
                // Said here, as a listing that is under way says nothing of a name that changed meanwhile.
                if let other { directory.add(node.name, other) }
            }
            state.move(inode, to: node.parent, name)
            // Before anybody else has the old name, under whose path it is remembered too.
            if let from { state.store.move(from, to: from.parent.appending(name)) }
            return true
        }
    }
}
