import Primitives
import RemoteAPI
import WireFormat

/// What is known of a file's bytes on the service.
public struct FileFacts: Sendable, Hashable {
    /// The size in bytes when last seen; nothing if it was never asked.
    public var size: UInt64?
    /// When the size was asked for.
    public var sizeAsOf: ContinuousClock.Instant?
    /// The version; nothing until the size is known.
    public var content: ContentID?
    /// The number of our last change, or one no smaller: what was asked for before is not stored after it.
    public var epoch: UInt64 = 0

    /// Knows nothing.
    public init() {}

    /// Nothing is known of the bytes any more. The size stays: it is what the kernel was told, and holds for no time.
    mutating func forgetContent(_ epoch: UInt64) {
        self.sizeAsOf = nil
        self.content = nil
        self.epoch = epoch
    }
}

/// One name of a directory.
struct Entry {
    let kind: EntryKind
    let inode: InodeNumber
    /// Whether the service has it; a file just made here is not there before its upload is completed.
    var isOnServer = true
    /// Whether bytes of it wait here for their upload: then it stays, whatever a listing says.
    var isHeld = false
    var facts = FileFacts()

    /// Whether it is as a listing would have it, so that the compact table can hold it.
    var isPlain: Bool { self.isOnServer && !self.isHeld }
}

/// What is known of one directory.
///
/// Most names are in a compact table, as the last listing had them; the few that differ lie beside it.
struct Directory {
    /// When the last listing was asked for; nothing if there was none.
    var listedAsOf: ContinuousClock.Instant?
    /// How many names the last listing had that no Linux directory can hold: they are there all the same.
    var refusedNameCount = 0
    /// Names that we changed while a listing is under way: what it says of them may be older.
    var changedInFlight: Set<FileName> = []
    /// Whether what a listing under way says may be older than what happened since.
    var expiredInFlight = false
    /// Names of these that the service deleted for us: a listing that has them is older.
    var deletedInFlight: Set<FileName> = []
    /// Listings under way.
    var flightCount = 0
    /// Whether its node, which gives them their path, is to be dropped after them if it is not used.
    var isDropDue = false
    /// Who is about to look at the names, so that they are not to be evicted.
    var holdCount = 0
    /// Whether what is remembered of its names is in memory.
    var hasRecalled = false
    /// When it was last used, as a count of uses.
    var lastUse: UInt64 = 0

    /// The names of the last listing, with those that are gone by now.
    private(set) var table: NameTable
    /// A bit for each name of the table that is gone, or among the others; empty if there is none.
    private var gone: [UInt64] = []
    private var goneCount = 0
    /// What is known of the table's files.
    private var facts: FactsTable
    /// The epoch of the table's files.
    var epoch: UInt64
    /// Names that the table does not have, or not as they are now.
    private(set) var others: [FileName: Entry] = [:]
    /// How many others there are when they are put into the table as far as it can hold them.
    private var foldingCount = Self.minimumFoldingCount

    private static let minimumFoldingCount = 256

    /// Knows a table's names, and nothing of its files.
    ///
    /// - Parameters:
    ///   - table: The names, with their numbers or still to get them.
    ///   - epoch: The number of the last change of ours to one of them: what was asked for before is not stored.
    init(_ table: NameTable = NameTable(), epoch: UInt64) {
        self.table = table
        self.facts = FactsTable(count: table.count)
        self.epoch = epoch
    }

    // MARK: By name

    /// What is known of a name.
    subscript(name: FileName) -> Entry? {
        get {
            if !self.others.isEmpty, let entry = self.others[name] { return entry }
            return self.table.index(of: name).flatMap(self.tableEntry(at:))
        }
        set {
            let index = self.table.index(of: name)
            if let index, let newValue, self.fits(newValue, at: index) {
                if !self.others.isEmpty { self.others[name] = nil }
                self.setGone(index, false)
                self.facts[index] = PackedFacts(newValue.facts)
                return
            }
            if let index { self.setGone(index, true) }
            self.others[name] = newValue
            if self.others.count >= self.foldingCount { self.fold() }
        }
    }

    /// How many names it holds.
    var liveCount: Int { self.table.count - self.goneCount + self.others.count }

    /// Whether it holds no name.
    var isEmpty: Bool { self.liveCount == 0 }

    /// Whether nothing is known of it, and nobody is about to know something.
    var isBlank: Bool {
        self.isEmpty && self.listedAsOf == nil && self.flightCount == 0 && self.holdCount == 0
    }

    /// Whether bytes of a file wait here.
    var holdsUnsentFile: Bool { self.others.values.contains { $0.isHeld } }

    /// A name is here now, or is something else than it was.
    mutating func add(_ name: FileName, _ entry: Entry) {
        self[name] = entry
        self.noteChange(of: name)
    }

    /// A name is gone.
    mutating func remove(_ name: FileName) {
        self[name] = nil
        self.noteChange(of: name)
    }

    /// What a listing under way says of a name may be older than what is known.
    mutating func noteChange(of name: FileName) {
        if self.flightCount > 0 { self.changedInFlight.insert(name) }
    }

    /// The service has deleted a name.
    mutating func noteDeletion(of name: FileName) {
        if self.flightCount > 0 { self.deletedInFlight.insert(name) }
    }

    /// A listing has ended.
    ///
    /// - Returns: Whether it was the last one.
    mutating func endFlight() -> Bool {
        self.flightCount -= 1
        guard self.flightCount == 0 else { return false }
        (self.changedInFlight, self.deletedInFlight) = ([], [])
        self.expiredInFlight = false
        return true
    }

    /// Calls something with each name's entry, in no order.
    func forEach(_ body: (Entry) -> Void) {
        for index in 0..<self.table.count { self.tableEntry(at: index).map(body) }
        self.others.values.forEach(body)
    }

    // MARK: By index, for who goes through the names in order

    /// How many names there were when they were last put in order: indices are below it.
    var nameCount: Int { self.table.count }

    /// The index of the first file; ``nameCount`` if there is none.
    var firstFileIndex: Int { self.table.firstFileIndex }

    /// Where a name stands, or would stand.
    func index(of name: FileName) -> Int { self.table.lowerBound(of: name) }

    /// The name at an index.
    func name(at index: Int) -> FileName { self.table.name(at: index) }

    /// What is known of the name at an index; nothing if it is gone.
    func entry(at index: Int) -> Entry? {
        if let entry = self.tableEntry(at: index) { return entry }
        return self.others.isEmpty ? nil : self.others[self.table.name(at: index)]
    }

    // MARK: The table

    /// What the table itself has at an index; nothing if that is gone, or among the others.
    func tableEntry(at index: Int) -> Entry? {
        if self.isGone(index) { return nil }
        var entry = Entry(kind: self.table.kind(at: index), inode: self.table.inode(at: index))
        entry.facts = self.facts[index].facts(epoch: self.epoch)
        return entry
    }

    /// Whether the table can hold an entry at an index.
    private func fits(_ entry: Entry, at index: Int) -> Bool {
        entry.isPlain && entry.inode == self.table.inode(at: index)
            && entry.kind == self.table.kind(at: index)
            && entry.facts.epoch <= self.epoch
    }

    func isGone(_ index: Int) -> Bool { !self.gone.isEmpty && self.gone[index / 64] >> (index % 64) & 1 == 1 }

    private mutating func setGone(_ index: Int, _ isGone: Bool) {
        guard self.isGone(index) != isGone else { return }
        if self.gone.isEmpty { self.gone = Array(repeating: 0, count: (self.table.count + 63) / 64) }
        self.gone[index / 64] ^= 1 << (index % 64)
        self.goneCount += isGone ? 1 : -1
    }

    /// Gives the name at an index of the table its number.
    mutating func identify(_ index: Int, as inode: InodeNumber) { self.table.setInode(inode, at: index) }

    /// Gives the name at an index of the table the number and the facts that it has in an older one.
    mutating func identify(_ index: Int, asAt oldIndex: Int, of old: Directory) {
        self.table.setInode(old.table.inode(at: oldIndex), at: index)
        self.facts[index] = old.facts[oldIndex]
    }

    /// Hides the name at an index of the table.
    mutating func hide(_ index: Int) { self.setGone(index, true) }

    /// All names in order.
    func merged() -> NameTable {
        if self.goneCount == 0, self.others.isEmpty { return self.table }
        return self.compacted { _ in true }.table
    }

    /// Puts what lies beside the table into it, as far as it can hold it.
    private mutating func fold() {
        self.compact { $0.isPlain }
    }

    /// Drops all names but some, and with them the listing's claim to be whole.
    mutating func shrink(keeping isKept: (Entry) -> Bool) {
        self.listedAsOf = nil
        self.hasRecalled = false
        self.refusedNameCount = 0
        self.others = self.others.filter { isKept($0.value) }
        self.compact { $0.isPlain && isKept($0) }
    }

    /// Makes the table anew, of those names that are to be in it; others of its names are dropped.
    private mutating func compact(_ isTaken: (Entry) -> Bool) {
        let new = self.compacted(isTaken)
        self.others = self.others.filter { !isTaken($0.value) }
        self.table = new.table
        self.facts = new.facts
        self.epoch = new.epoch
        self.gone = []
        self.goneCount = 0
        self.foldingCount = max(Self.minimumFoldingCount, self.table.count / 4, self.others.count * 2)
        for name in self.others.keys { self.table.index(of: name).map { self.setGone($0, true) } }
    }

    /// A directory of some names and their facts.
    private func compacted(_ isTaken: (Entry) -> Bool) -> Directory {
        let added = self.others.filter { isTaken($0.value) }.sorted { $0.key < $1.key }
            .map { (index: self.table.lowerBound(of: $0.key), name: $0.key, entry: $0.value) }
        let count = self.table.count + added.count
        var builder = NameTableBuilder(count: count, byteCount: self.table.nameByteCount)
        var facts = FactsTable(count: count)
        var epoch = self.epoch
        var next = 0
        for index in 0...self.table.count {
            while next < added.count, added[next].index == index {
                let (_, name, entry) = added[next]
                facts[builder.count] = PackedFacts(entry.facts)
                epoch = max(epoch, entry.facts.epoch)
                name.withBytes { builder.append($0, entry.inode, entry.kind) }
                next += 1
            }
            if index < self.table.count, let entry = self.tableEntry(at: index), isTaken(entry) {
                facts[builder.count] = self.facts[index]
                self.table.append(index, to: &builder)
            }
        }
        var directory = Directory(builder.finish(), epoch: epoch)
        facts.truncate(to: directory.nameCount)
        directory.facts = facts
        return directory
    }

    // MARK: Memory

    /// What it occupies, in bytes, about.
    var byteCount: Int {
        // The struct lies in a dictionary with room to grow, and every array has a header.
        Self.ownByteCount + self.table.byteCount + self.gone.count * 8 + self.facts.byteCount
            + self.others.count * Self.byteCountOfOther
            + (self.changedInFlight.count + self.deletedInFlight.count) * 32
    }

    private static let ownByteCount = 400
    private static let byteCountOfOther = 200
}
