import WireFormat

/// A change of the journal that waits to be written.
enum JournalChange: Sendable {
    /// Makes a record, or brings all but its path and upload up to date.
    case record(Journal.Record)
    /// A record's file was written to: its size, and bytes that are here beside those of the record. Small where the
    /// record is large.
    case grown(UInt64, Journal.Content)
    /// Removes a record.
    case removeRecord(UInt64)
    case beginUpload(UInt64, Journal.Upload)
    case sentPart(UInt64, UploadID, Int)
    case endUpload(UInt64)
    case addUpload(UploadID, RemotePath)
    case removeUpload(UploadID)
    case move(from: RemotePath, to: RemotePath)
    case attributes(RemotePath, StoredAttributes)
    case removeAttributes(RemotePath)
    case addMove(Journal.Move)
    case advanceMove(Int64, Journal.Move.Stage)
    case copied(Int64, RemotePath, UInt64?)
    case notCopied(Int64, RemotePath)
    case finishMove(Int64)
    case setMeta(String, String)
}

extension JournalChange {
    /// How many extents are written with it.
    var extentCount: Int {
        let contents: [Journal.Content?] =
            switch self {
            case .record(let record): [record.content, record.synced]
            case .grown(_, let more): [more]
            default: []
            }
        return contents.reduce(0) { $0 + ($1?.extents?.extents.count ?? 0) }
    }

    /// A record after more was written; nothing if this is none.
    fileprivate func grown(by more: Journal.Content) -> JournalChange? {
        guard case .record(var record) = self else { return nil }
        record.content = record.content.grown(by: more)
        return .record(record)
    }
}

/// Changes that wait to be written, in order; what a later one makes needless is left out.
struct JournalQueue: Sendable {
    private(set) var changes: [JournalChange] = []
    /// Where the record of a number, or what it has grown by, is among the changes, and where the attributes of a path are.
    private var records: [UInt64: Int] = [:]
    private var attributes: [RemotePath: Int] = [:]

    var isEmpty: Bool { self.changes.isEmpty }

    mutating func append(_ change: JournalChange) {
        switch change {
        case .record(var record):
            if let index = self.records[record.number] {
                // The path is the first one's: moves after it change it.
                if case .record(let earlier) = self.changes[index] { record.path = earlier.path }
                self.changes[index] = .record(record)
                return
            }
            self.records[record.number] = self.changes.count
        case .grown(let number, let more):
            if let index = self.records[number] {
                self.changes[index] = self.changes[index].grown(by: more) ?? change
                return
            }
            self.records[number] = self.changes.count
        case .removeRecord(let number):
            self.records[number] = nil
        case .attributes(let path, _):
            if let index = self.attributes[path] {
                self.changes[index] = change
                return
            }
            self.attributes[path] = self.changes.count
        case .move, .removeAttributes:
            self.attributes = [:]
        default: break
        }
        self.changes.append(change)
    }

    /// Takes all of them.
    mutating func take() -> [JournalChange] {
        defer { self = JournalQueue() }
        return self.changes
    }

    /// Puts changes back that could not be written.
    mutating func putBack(_ earlier: [JournalChange]) {
        let later = self.take()
        for change in earlier + later { self.append(change) }
    }
}
