import Foundation
import GRDB
import WireFormat

extension JournalDatabase {
    /// What the start needs; the time of the first mount is set if there is none.
    func start(now: Int64) throws -> Start {
        let known = try self.meta("first-mount").flatMap(Int64.init)
        if known == nil { try self.write([.setMeta("first-mount", "\(now)")], boot: "", isSynced: false) }
        return Start(
            records: try self.records(),
            uploads: try self.uploads(),
            firstMountTime: known ?? now,
            lastMove: try self.queue.read { try Int64.fetchOne($0, sql: "SELECT MAX(id) FROM moves") ?? 0 },
            highestNumber: try self.queue.read {
                try Int64.fetchOne($0, sql: "SELECT MAX(number) FROM attributes").map(UInt64.init(clamping:))
            }
        )
    }

    func meta(_ key: String) throws -> String? {
        try self.queue.read {
            try String.fetchOne($0, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key])
        }
    }

    /// All records, the oldest first.
    func records() throws -> [Journal.Record] {
        try self.queue.read { database in
            var parts: [UInt64: Set<Int>] = [:]
            let partRows = try Row.fetchCursor(database, sql: "SELECT number, part FROM parts")
            while let row = try partRows.next() {
                guard let number: UInt64 = row.value("number"), let part: Int = row.value("part") else {
                    continue
                }
                parts[number, default: []].insert(part)
            }
            let grown = try Self.grown(database)
            let rows = try Row.fetchCursor(database, sql: "SELECT * FROM records ORDER BY number")
            var records: [Journal.Record] = []
            while let row = try rows.next() {
                guard var record = Journal.Record(row) else {
                    throw DatabaseError(resultCode: .SQLITE_CORRUPT)
                }
                record.upload?.sentParts = parts[record.number] ?? []
                if let more = grown[record.number] { record.content = record.content.grown(by: more) }
                records.append(record)
            }
            return records
        }
    }

    /// What was written to files since their records were.
    private static func grown(_ database: Database) throws -> [UInt64: Journal.Content] {
        // Who only reads a journal may meet one in which nobody has made the table.
        guard try database.tableExists("grown") else { return [:] }
        var grown: [UInt64: Journal.Content] = [:]
        let rows = try Row.fetchCursor(database, sql: "SELECT * FROM grown")
        while let row = try rows.next() {
            guard let number: UInt64 = row.value("number"), let size: UInt64 = row.value("size"),
                let more = Journal.Content(size, row.value("extents"))
            else { throw DatabaseError(resultCode: .SQLITE_CORRUPT) }
            grown[number] = more
        }
        return grown
    }

    /// The uploads that were begun, as far as they are not known to be over.
    func uploads() throws -> [UploadID: RemotePath] {
        try self.queue.read { database in
            var uploads: [UploadID: RemotePath] = [:]
            let rows = try Row.fetchCursor(database, sql: "SELECT upload, path FROM uploads")
            while let row = try rows.next() {
                guard let upload = (row.value("upload") as String?).flatMap({ UploadID($0) }) else {
                    continue
                }
                uploads[upload] = (row.value("path") as String?).flatMap { RemotePath($0) }
            }
            return uploads
        }
    }

    /// The renames that are not done, in the order in which they began.
    func moves() throws -> [Journal.Move] {
        try self.queue.read { database in
            var moves: [Journal.Move] = []
            for row in try Row.fetchAll(database, sql: "SELECT * FROM moves ORDER BY id") {
                guard var move = Journal.Move(row) else { throw DatabaseError(resultCode: .SQLITE_CORRUPT) }
                let copied = try Row.fetchCursor(
                    database,
                    sql: "SELECT path, size FROM copied WHERE move = ?",
                    arguments: [move.id]
                )
                while let row = try copied.next() {
                    guard let text: String = row.value("path"), let path = RemotePath(text) else { continue }
                    move.copied.updateValue(row.value("size"), forKey: path)
                }
                moves.append(move)
            }
            return moves
        }
    }

    /// What is remembered of the children of a directory.
    func attributes(in directory: RemotePath) throws -> [FileName: StoredAttributes] {
        try self.queue.read { database in
            let rows = try Row.fetchCursor(
                database.cachedStatement(sql: "SELECT * FROM attributes WHERE parent = ?"),
                arguments: [directory.description]
            )
            var found: [FileName: StoredAttributes] = [:]
            while let row = try rows.next() {
                guard let text: String = row.value("name"), let name = FileName(text) else { continue }
                found[name] = StoredAttributes(row)
            }
            return found
        }
    }
}

extension JournalDatabase {
    /// What is remembered of one path.
    func attributes(of path: RemotePath) throws -> StoredAttributes? {
        try self.queue.read { database in
            try Row.fetchOne(
                database.cachedStatement(sql: "SELECT * FROM attributes WHERE parent = ? AND name = ?"),
                arguments: [path.parent.description, path.name?.string ?? ""]
            ).flatMap { StoredAttributes($0) }
        }
    }
}

extension Row {
    /// A value, or nothing if it is not of its type: a damaged file has anything anywhere, and GRDB's own access
    /// would end the process.
    fileprivate func value<Value: DatabaseValueConvertible>(_ column: String) -> Value? {
        (self[column] as DatabaseValue?).flatMap(Value.fromDatabaseValue)
    }
}

extension Journal.Record {
    fileprivate init?(_ row: Row) {
        guard let number: UInt64 = row.value("number"), let size: UInt64 = row.value("size"),
            let stateText: String = row.value("state"), let state = Journal.State(rawValue: stateText)
        else { return nil }
        guard let content = Journal.Content(size, row.value("extents")) else { return nil }
        self.number = number
        self.path = (row.value("path") as String?).flatMap { RemotePath($0) }
        self.state = state
        self.content = content
        self.synced = (row.value("synced_size") as UInt64?)
            .flatMap { Journal.Content($0, row.value("synced_extents")) }
        self.isPromised = row.value("is_promised") ?? false
        self.baseSize = row.value("base_size")
        self.replacesUnknown = row.value("base_size") == JournalDatabase.unknownSize
        self.completingSize = row.value("completing_size")
        if let text: String = row.value("upload"), let id = UploadID(text),
            let partSize: UInt64 = row.value("part_size"), partSize > 0
        {
            // By its id, as earlier versions of the program write others beside it.
            let isSynced = row.value("synced_upload") == text
            self.upload = Journal.Upload(id: id, partSize: partSize, isSynced: isSynced)
        }
        self.reason = row.value("reason")
        self.time = row.value("time") ?? 0
        self.boot = row.value("boot") ?? ""
    }
}

extension Journal.Content {
    /// Nothing if the bytes are no extents within the size.
    fileprivate init?(_ size: UInt64, _ data: Data?) {
        guard let data else {
            self.init(size: size)
            return
        }
        guard let extents = ExtentCoding.decode(data), (extents.extents.last?.upperBound ?? 0) <= size else {
            return nil
        }
        self.init(size: size, extents: extents)
    }
}

extension Journal.Move {
    fileprivate init?(_ row: Row) {
        guard let id: Int64 = row.value("id"),
            let source = (row.value("source") as String?).flatMap({ RemotePath($0) }),
            let target = (row.value("target") as String?).flatMap({ RemotePath($0) }),
            let kind = (row.value("kind") as String?).flatMap(Kind.init),
            let stage = (row.value("stage") as String?).flatMap(Stage.init)
        else { return nil }
        self.init(id: id, source: source, target: target, kind: kind, stage: stage, copied: [:])
    }
}

extension StoredAttributes {
    fileprivate init?(_ row: Row) {
        guard let number: UInt64 = row.value("number") else { return nil }
        self.init(number: number)
        self.size = row.value("size")
        self.mode = row.value("mode")
        self.userID = row.value("uid")
        self.groupID = row.value("gid")
        self.accessTime = Time(row, "atime")
        self.modificationTime = Time(row, "mtime")
        self.changeTime = Time(row, "ctime")
    }
}

extension StoredAttributes.Time {
    fileprivate init?(_ row: Row, _ column: String) {
        guard let seconds: Int64 = row.value(column), let nanoseconds: Int64 = row.value(column + "_ns")
        else {
            return nil
        }
        self.init(seconds: seconds, nanoseconds: nanoseconds)
    }
}
