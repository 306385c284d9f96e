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
    /// Whether the last listing was empty, which alone does not prove that the directory exists.
    var wasEmpty = false
    /// Our own changes since a listing that is under way was asked for, to be made to its answer too.
    var changesInFlight: [Change] = []
    /// Listings under way.
    var flightCount = 0
    /// The names in order, as long as none came or went.
    var order: [FileName]?

    /// A change of ours to the names.
    enum Change {
        case added(FileName, Entry)
        case removed(FileName)
    }

    mutating func add(_ name: FileName, _ entry: Entry) {
        if self.entries.updateValue(entry, forKey: name) == nil { self.order = nil }
        if self.flightCount > 0 { self.changesInFlight.append(.added(name, entry)) }
    }

    mutating func remove(_ name: FileName) {
        if self.entries.removeValue(forKey: name) != nil { self.order = nil }
        if self.flightCount > 0 { self.changesInFlight.append(.removed(name)) }
    }

    /// The names in byte order.
    mutating func orderedNames() -> [FileName] {
        if let order { return order }
        let order = self.entries.keys.sorted()
        self.order = order
        return order
    }
}
