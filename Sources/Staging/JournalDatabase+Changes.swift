import Foundation
import GRDB
import WireFormat

extension JournalDatabase {
    static func apply(_ change: JournalChange, boot: String, _ database: Database) throws {
        func run(_ sql: String, _ arguments: StatementArguments) throws {
            try database.cachedStatement(sql: sql).execute(arguments: arguments)
        }
        switch change {
        case .record(let record):
            try self.put(record, boot: boot, run)
            try run("DELETE FROM grown WHERE number = ?", [Int64(record.number)])
        case .grown(let number, let more):
            try run(
                "INSERT OR REPLACE INTO grown VALUES (?, ?, ?)",
                [Int64(number), Int64(more.size), self.data(more.extents)]
            )
        case .removeRecord(let number):
            try run("DELETE FROM records WHERE number = ?", [Int64(number)])
            try run("DELETE FROM grown WHERE number = ?", [Int64(number)])
            try run("DELETE FROM parts WHERE number = ?", [Int64(number)])
        case .beginUpload(let number, let upload):
            try run("DELETE FROM parts WHERE number = ?", [Int64(number)])
            try run(
                "UPDATE records SET upload = ?1, part_size = ?2, synced_upload = ?3 WHERE number = ?4",
                [
                    upload.id.rawValue, Int64(upload.partSize), upload.isSynced ? upload.id.rawValue : nil,
                    Int64(number),
                ]
            )
        case .sentPart(let number, let id, let part):
            // Of an upload that was cleared nothing is noted any more.
            try run(
                "INSERT OR IGNORE INTO parts SELECT number, ? FROM records WHERE number = ? AND upload = ?",
                [part, Int64(number), id.rawValue]
            )
        case .endUpload(let number):
            try run("DELETE FROM parts WHERE number = ?", [Int64(number)])
            try run("UPDATE records SET upload = NULL, part_size = NULL WHERE number = ?", [Int64(number)])
        case .addUpload(let upload, let path):
            try run("INSERT OR REPLACE INTO uploads VALUES (?, ?)", [upload.rawValue, path.description])
        case .removeUpload(let upload): try run("DELETE FROM uploads WHERE upload = ?", [upload.rawValue])
        case .move(let source, let target): try self.move(source, target, run)
        case .attributes(let path, let attributes): try self.put(attributes, of: path, run)
        case .removeAttributes(let path): try self.removeAttributes(of: path, run)
        case .addMove(let move):
            try run(
                "INSERT INTO moves VALUES (?, ?, ?, ?, ?)",
                [
                    move.id, move.source.description, move.target.description, move.kind.rawValue,
                    move.stage.rawValue,
                ]
            )
        case .advanceMove(let id, let stage):
            try run("UPDATE moves SET stage = ? WHERE id = ?", [stage.rawValue, id])
        case .copied(let id, let path, let size):
            try run(
                "INSERT OR REPLACE INTO copied VALUES (?, ?, ?)",
                [id, path.description, size.map(Int64.init)]
            )
        case .notCopied(let id, let path):
            try run("DELETE FROM copied WHERE move = ? AND path = ?", [id, path.description])
        case .finishMove(let id):
            try run("DELETE FROM moves WHERE id = ?", [id])
            try run("DELETE FROM copied WHERE move = ?", [id])
        case .setMeta(let key, let value):
            try run("INSERT OR REPLACE INTO meta VALUES (?, ?)", [key, value])
        }
    }

    /// Stands for the size of something of which none is known; versions of the program that do not know it read nothing.
    static let unknownSize: Int64 = -1

    private typealias Run = (String, StatementArguments) throws -> Void

    private static func put(_ record: Journal.Record, boot: String, _ run: Run) throws {
        // A known one keeps its path: only moves change that.
        try run(
            """
            INSERT INTO records (number, path, state, size, extents, synced_size, synced_extents, base_size,
                reason, time, boot, is_promised, completing_size)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            ON CONFLICT (number) DO UPDATE SET state = ?3, size = ?4, extents = ?5, synced_size = ?6,
                synced_extents = ?7, base_size = ?8, reason = ?9, boot = ?11,
                is_promised = ?12, completing_size = ?13
            """,
            [
                Int64(record.number), record.path?.description, record.state.rawValue,
                Int64(record.content.size), self.data(record.content.extents),
                record.synced.map { Int64($0.size) }, self.data(record.synced?.extents),
                record.replacesUnknown ? self.unknownSize : record.baseSize.map(Int64.init), record.reason,
                record.time, boot,
                record.isPromised, record.completingSize.map(Int64.init),
            ]
        )
    }

    private static func data(_ extents: ExtentMap?) -> Data? { extents.map { Data(ExtentCoding.encode($0)) } }

    /// Holds for what is at (?1) or below a path; '0' follows '/'.
    private static func isWithin(_ column: String) -> String {
        "(\(column) = ?1 OR (\(column) > ?1 || '/' AND \(column) < ?1 || '0'))"
    }

    private static func move(_ source: RemotePath, _ target: RemotePath, _ run: Run) throws {
        let (old, new) = (source.description, target.description)
        // Of what is kept the path only tells a person which file it was.
        try run(
            """
            UPDATE records SET path = ?2 || substr(path, length(?1) + 1)
            WHERE state <> 'kept' AND \(self.isWithin("path"))
            """,
            [old, new]
        )
        guard let oldName = source.name, let newName = target.name else { return }
        // In place of what is remembered there, which is no more; so that the same move twice does no harm.
        try run(
            "UPDATE OR REPLACE attributes SET parent = ?3, name = ?4 WHERE parent = ?1 AND name = ?2",
            [source.parent.description, oldName.string, target.parent.description, newName.string]
        )
        try run(
            "UPDATE OR REPLACE attributes SET parent = ?2 || substr(parent, length(?1) + 1) WHERE \(self.isWithin("parent"))",
            [old, new]
        )
    }

    private static func removeAttributes(of path: RemotePath, _ run: Run) throws {
        guard let name = path.name else { return try run("DELETE FROM attributes", []) }
        try run(
            "DELETE FROM attributes WHERE parent = ? AND name = ?",
            [path.parent.description, name.string]
        )
        try run("DELETE FROM attributes WHERE \(self.isWithin("parent"))", [path.description])
    }

    private static func put(_ attributes: StoredAttributes, of path: RemotePath, _ run: Run) throws {
        try run(
            "INSERT OR REPLACE INTO attributes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                path.parent.description, path.name?.string ?? "", Int64(clamping: attributes.number),
                attributes.size.map(Int64.init),
                attributes.mode, attributes.userID, attributes.groupID,
                attributes.accessTime?.seconds, attributes.accessTime?.nanoseconds,
                attributes.modificationTime?.seconds, attributes.modificationTime?.nanoseconds,
                attributes.changeTime?.seconds, attributes.changeTime?.nanoseconds,
            ]
        )
    }
}
