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
    /// Raised by each change of ours: an answer that was asked for before a change is not stored after it.
    public var epoch: UInt64 = 0

    /// Knows nothing.
    public init() {}
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
}

/// What is known of one directory.
struct Directory {
    /// The names, from the last listing and our own changes since.
    var entries: [FileName: Entry] = [:]
    /// When the last listing was asked for; nothing if there was none.
    var listedAsOf: ContinuousClock.Instant?
    /// How many names the last listing had that no Linux directory can hold: they are there all the same.
    var refusedNameCount = 0
    /// Names that we changed while a listing is under way: what it says of them may be older.
    var changedInFlight: Set<FileName> = []
    /// Listings under way.
    var flightCount = 0
    /// The names in byte order, with some that are gone; nothing until somebody needs it.
    private var order: [FileName]?

    mutating func add(_ name: FileName, _ entry: Entry) {
        let isNew = self.entries.updateValue(entry, forKey: name) == nil
        if self.flightCount > 0 { self.changedInFlight.insert(name) }
        guard isNew, self.order != nil else { return }
        let index = self.index(of: name)
        // A name that went and comes back may still be there.
        if let order, index < order.count, order[index] == name { return }
        self.order?.insert(name, at: index)
    }

    mutating func remove(_ name: FileName) {
        self.entries[name] = nil
        if self.flightCount > 0 { self.changedInFlight.insert(name) }
    }

    /// Takes what a listing says in place of what was known.
    mutating func replace(_ entries: [FileName: Entry]) {
        self.entries = entries
        self.order = nil
    }

    /// The names in byte order; some of them may have no entry any more.
    ///
    /// Sorting 100,000 names takes a tenth of a second, so that a removal does not sort again.
    mutating func orderedNames() -> [FileName] {
        if let order, order.count <= 2 * self.entries.count + 64 { return order }
        let order = self.entries.keys.sorted()
        self.order = order
        return order
    }

    /// Where a name stands, or would stand, among ``orderedNames()``.
    mutating func index(of name: FileName) -> Int {
        let order = self.orderedNames()
        var low = 0
        var high = order.count
        while low < high {
            let middle = (low + high) / 2
            if order[middle] < name { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
