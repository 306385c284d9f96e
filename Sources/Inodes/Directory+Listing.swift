import Primitives
import WireFormat

extension Directory {
    /// The directory as a listing has it.
    ///
    /// - Parameters:
    ///   - listed: The listing's names, without numbers; what is known here as the same kind of thing keeps its own.
    ///   - hidden: Names that it is not to have.
    ///   - makeInode: Gives the others theirs.
    /// - Returns: The directory, and what is not in it any more.
    func replaced(
        by listed: NameTable,
        without hidden: Set<FileName>,
        makeInode: () -> InodeNumber
    ) -> (directory: Directory, replaced: [(name: FileName, entry: Entry)]) {
        var new = Directory(listed, epoch: self.epoch)
        new.changedInFlight = self.changedInFlight
        new.expiredInFlight = self.expiredInFlight
        new.deletedInFlight = self.deletedInFlight
        new.flightCount = self.flightCount
        new.isDropDue = self.isDropDue
        new.holdCount = self.holdCount
        new.lastUse = self.lastUse
        new.hasRecalled = self.hasRecalled
        for name in hidden { listed.index(of: name).map { new.hide($0) } }
        var isKept = [Bool](repeating: false, count: self.nameCount)
        var isKnown = [Bool](repeating: false, count: listed.count)
        listed.forEachMatch(in: self.table) { index, oldIndex in
            guard !new.isGone(index), let entry = self.tableEntry(at: oldIndex),
                entry.kind == listed.kind(at: index)
            else { return }
            new.identify(index, asAt: oldIndex, of: self)
            isKept[oldIndex] = true
            isKnown[index] = true
        }
        var others: [(FileName, Entry)] = []
        for (name, var entry) in self.others {
            if let index = listed.index(of: name), !new.isGone(index) {
                guard listed.kind(at: index) == entry.kind else { continue }
                entry.isOnServer = true
                new.identify(index, as: entry.inode)
                isKnown[index] = true
            } else if entry.isHeld {
                entry.isOnServer = false
            } else {
                continue
            }
            others.append((name, entry))
        }
        for index in 0..<listed.count where !isKnown[index] && !new.isGone(index) {
            new.identify(index, as: makeInode())
        }
        for (_, entry) in others where entry.isPlain { new.epoch = max(new.epoch, entry.facts.epoch) }
        for (name, entry) in others { new[name] = entry }
        // What the listing says of these may be older than what is known, or of what others did since.
        for name in self.changedInFlight {
            var entry = self[name]
            if entry?.kind == .file, let index = listed.index(of: name), listed.kind(at: index) == .file,
                !hidden.contains(name), !self.deletedInFlight.contains(name)
            {
                entry?.isOnServer = true
            }
            new[name] = entry
            if let index = self.table.index(of: name) { isKept[index] = false }
        }
        // Whose name went, or now stands for another kind of thing, is gone.
        var replaced = self.others.filter { new[$0.key]?.inode != $0.value.inode }.map {
            (name: $0.key, entry: $0.value)
        }
        for index in 0..<self.nameCount where !isKept[index] {
            let name = self.name(at: index)
            guard let entry = self.tableEntry(at: index), new[name]?.inode != entry.inode else { continue }
            replaced.append((name, entry))
        }
        return (new, replaced)
    }
}
