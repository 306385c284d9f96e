import Foundation
import GRDB
import Synchronization
import SystemPackage

/// Which block is where, in SQLite.
///
/// Two connections: what is read never waits for what is written. Calls block: they belong on threads of ours.
final class BlockCatalogue: Sendable {
    private let writer: DatabaseQueue
    private let reader: DatabaseQueue
    private let segmentByteCount: Int
    /// Whether lines were taken out that a power failure could bring back, by this process or the last one.
    private let hasUnsyncedDeletions = Mutex(true)

    /// Opens the catalogue, making it in an empty file.
    ///
    /// - Throws: `DatabaseError` if it is no database or cannot be written.
    init(_ path: FilePath, segmentByteCount: Int) throws {
        var configuration = Configuration()
        // Else GRDB would end the process over a transaction that a failing disk does not let end.
        configuration.allowsUnsafeTransactions = true
        // Somebody who looks at it with a tool of SQLite's may hold it for a moment.
        configuration.busyMode = .timeout(1)
        configuration.prepareDatabase { database in
            // Not as GRDB's configuration does it, which writes each time, and so waits for who else does.
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            // A commit need not survive a power failure: a lost line is a missing block. What must survive
            // turns this to FULL for its transaction (`delete`).
            try database.execute(sql: "PRAGMA synchronous = NORMAL")
            // 2 MiB: the log counts in the budget.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 512")
            try database.execute(sql: "PRAGMA journal_size_limit = 2097152")
        }
        self.writer = try DatabaseQueue(path: path.string, configuration: configuration)
        // Not each time: it would wait for who else writes.
        if try self.writer.read({ try Int.fetchOne($0, sql: "PRAGMA user_version") }) != 1 {
            try self.writer.write { try $0.execute(sql: Self.schema) }
        }
        var readOnly = Configuration()
        readOnly.readonly = true
        readOnly.allowsUnsafeTransactions = true
        readOnly.busyMode = .timeout(1)
        self.reader = try DatabaseQueue(path: path.string, configuration: readOnly)
        self.segmentByteCount = segmentByteCount
    }

    // The path stands in each line: of the many small files each has one line, and a table of files beside this one
    // would be larger.
    private static let schema = """
        CREATE TABLE IF NOT EXISTS pieces (
            path TEXT NOT NULL,
            size INTEGER NOT NULL,
            extent INTEGER NOT NULL,
            segment INTEGER NOT NULL,
            offset INTEGER NOT NULL,
            blocks BLOB NOT NULL,
            PRIMARY KEY (path, size, extent, segment, offset)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS pieces_by_segment ON pieces (segment);
        CREATE TABLE IF NOT EXISTS segments (
            number INTEGER NOT NULL PRIMARY KEY,
            last_use INTEGER NOT NULL,
            is_protected INTEGER NOT NULL
        );
        CREATE TABLE IF NOT EXISTS deletions (only INTEGER PRIMARY KEY CHECK (only = 1), count INTEGER NOT NULL);
        INSERT OR IGNORE INTO deletions VALUES (1, 0);
        PRAGMA user_version = 1;
        """

    // MARK: Reading

    /// All segments.
    func segments() throws -> [UInt32: SegmentTable.Segment] {
        try self.writer.inDatabase { database in
            let rows = try Row.fetchCursor(
                database,
                sql: "SELECT number, last_use, is_protected FROM segments"
            )
            var segments: [UInt32: SegmentTable.Segment] = [:]
            while let row = try rows.next() {
                // Numbers that none of ours has come from a damaged file, and would leave no room for the next ones.
                guard let number: UInt32 = row.value(0), number <= UInt32.max / 2,
                    let lastUse: Int64 = row.value(1)
                else { continue }
                segments[number] = .init(lastUse: lastUse, isProtected: row.value(2) ?? false)
            }
            return segments
        }
    }

    /// The blocks of some extents of a file, in the order in which they were stored.
    func blocks(key: String, size: UInt64, extents: Range<UInt64>) throws -> [StoredBlock] {
        try self.reader.inDatabase { database in
            let statement = try database.cachedStatement(
                sql: """
                    SELECT segment, blocks FROM pieces
                    WHERE path = ? AND size = ? AND extent >= ? AND extent < ? ORDER BY segment, offset
                    """
            )
            let rows = try Row.fetchCursor(
                statement,
                arguments: [key, Int64(size), Int64(extents.lowerBound), Int64(extents.upperBound)]
            )
            var blocks: [StoredBlock] = []
            while let row = try rows.next() {
                guard let segment: UInt32 = row.value(0), let data: Data = row.value(1) else { continue }
                blocks += BlockCoding.decode(
                    data,
                    segment: segment,
                    size: size,
                    segmentByteCount: self.segmentByteCount
                )
            }
            return blocks
        }
    }

    /// Whether there are blocks of a file of this size.
    func hasVersion(key: String, size: UInt64) throws -> Bool {
        try self.reader.inDatabase { database in
            let statement = try database.cachedStatement(
                sql: "SELECT EXISTS (SELECT 1 FROM pieces WHERE path = ? AND size = ?)"
            )
            return try Bool.fetchOne(statement, arguments: [key, Int64(size)]) ?? false
        }
    }

    /// Whether there are blocks of a file with another size.
    func hasOtherVersion(key: String, size: UInt64) throws -> Bool {
        try self.reader.inDatabase { database in
            let statement = try database.cachedStatement(
                sql: """
                    SELECT EXISTS (SELECT 1 FROM pieces WHERE path = ?1 AND size < ?2)
                        OR EXISTS (SELECT 1 FROM pieces WHERE path = ?1 AND size > ?2)
                    """
            )
            return try Bool.fetchOne(statement, arguments: [key, Int64(size)]) ?? false
        }
    }

    // MARK: Changing

    /// Adds pieces, and notes how segments were used.
    func insert(_ pieces: [Piece], segments: [UInt32: SegmentTable.Segment]) throws {
        try self.writer.write { database in
            for (number, segment) in segments {
                try database.cachedStatement(sql: "INSERT OR REPLACE INTO segments VALUES (?, ?, ?)")
                    .execute(arguments: [number, segment.lastUse, segment.isProtected])
            }
            try Self.insert(pieces, database)
        }
    }

    private static func insert(_ pieces: [Piece], _ database: Database) throws {
        // Or replace: after a power failure a segment may be shorter than this table has it, and is filled anew.
        let statement = try database.cachedStatement(
            sql: "INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?, ?, ?)"
        )
        for piece in pieces {
            try statement.execute(arguments: [
                piece.key, Int64(piece.size), Int64(piece.extent), piece.blocks[0].segment,
                piece.blocks[0].offset, BlockCoding.encode(piece.blocks),
            ])
        }
    }

    /// Takes a segment out with all that is in it.
    ///
    /// - Returns: How many blocks that were.
    func deleteSegment(_ number: UInt32) throws -> Int {
        try self.writer.write { database in
            self.hasUnsyncedDeletions.withLock { $0 = true }
            let byteCount = try Int.fetchOne(
                database,
                sql: "SELECT SUM(LENGTH(blocks)) FROM pieces WHERE segment = ?",
                arguments: [number]
            )
            try database.execute(sql: "DELETE FROM pieces WHERE segment = ?", arguments: [number])
            try database.execute(sql: "DELETE FROM segments WHERE number = ?", arguments: [number])
            return (byteCount ?? 0) / BlockCoding.byteCountPerBlock
        }
    }

    /// Which lines a deletion or renaming is about.
    enum Scope: Hashable, Sendable {
        /// A file.
        case file(String)
        /// A file or directory and all below it.
        case tree(String)

        /// The versions of a file that have another size than this one.
        case otherVersions(String, size: UInt64)

        fileprivate var condition: String {
            switch self {
            case .file: "path = ?1"
            case .otherVersions: "path = ?1 AND size <> ?2"
            case .tree(""): "path >= ?1"
            // '0' follows '/'.
            case .tree: "(path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0'))"
            }
        }

        fileprivate var arguments: StatementArguments {
            switch self {
            case .file(let key), .tree(let key): [key]
            case .otherVersions(let key, let size): [key, Int64(size)]
            }
        }
    }

    /// Takes all versions of files out, so that they are not there after a power failure either.
    ///
    /// It costs an fsync, unless there is nothing to take out: a new file's upload waits for no disk.
    ///
    /// - Returns: The segments that now have nothing any more.
    func delete(_ scope: Scope) throws -> [UInt32] {
        let isAbsent = try self.writer.inDatabase { database in
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM pieces WHERE \(scope.condition))"
            return try Bool.fetchOne(database.cachedStatement(sql: sql), arguments: scope.arguments) ?? false
        }
        if isAbsent && !self.hasUnsyncedDeletions.withLock({ $0 }) { return [] }
        return try self.durably { database in
            let segments = try UInt32.fetchAll(
                database,
                sql: "SELECT DISTINCT segment FROM pieces WHERE \(scope.condition)",
                arguments: scope.arguments
            )
            try database.execute(
                sql: "DELETE FROM pieces WHERE \(scope.condition)",
                arguments: scope.arguments
            )
            return try segments.filter { segment in
                try
                    !(Bool.fetchOne(
                        database,
                        sql: "SELECT EXISTS (SELECT 1 FROM pieces WHERE segment = ?)",
                        arguments: [segment]
                    ) ?? true)
            }
        }
    }

    /// Gives files another path; what was there is taken out. If there are more lines than `limit` to change, they
    /// are taken out instead.
    func rename(_ old: String, to new: String, limit: Int) throws {
        try self.durably { database in
            try database.execute(
                sql: "DELETE FROM pieces WHERE \(Scope.tree(new).condition)",
                arguments: [new]
            )
            let scope = Scope.tree(old)
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT path, size, segment, blocks FROM pieces WHERE \(scope.condition) LIMIT ?2",
                arguments: scope.arguments + [limit + 1]
            )
            try database.execute(
                sql: "DELETE FROM pieces WHERE \(scope.condition)",
                arguments: scope.arguments
            )
            guard rows.count <= limit else { return }
            let pieces = rows.compactMap { row -> Piece? in
                guard let key: String = row.value(0), let size: UInt64 = row.value(1),
                    let segment: UInt32 = row.value(2), let data: Data = row.value(3)
                else { return nil }
                let blocks = BlockCoding.decode(
                    data,
                    segment: segment,
                    size: size,
                    segmentByteCount: self.segmentByteCount
                )
                guard !blocks.isEmpty else { return nil }
                return Piece(key: key, size: size, blocks: blocks)
                    .renamed(to: new + String(decoding: key.utf8.dropFirst(old.utf8.count), as: UTF8.self))
            }
            try Self.insert(pieces, database)
        }
    }

    /// Runs a transaction that is on the disk, and all before it, when this returns.
    @discardableResult
    private func durably<Result>(_ change: (Database) throws -> Result) throws -> Result {
        try self.writer.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
            defer { try? database.execute(sql: "PRAGMA synchronous = NORMAL") }
            var result: Result?
            try database.inTransaction(.immediate) {
                result = try change(database)
                // A transaction that changes nothing would not make the ones before it durable.
                try database.execute(sql: "UPDATE deletions SET count = count + 1")
                return .commit
            }
            self.hasUnsyncedDeletions.withLock { $0 = false }
            guard let result else { throw DatabaseError(resultCode: .SQLITE_INTERNAL) }
            return result
        }
    }

    /// Ends both connections; SQLite then brings its log into the file.
    func close() {
        try? self.reader.close()
        try? self.writer.close()
    }
}

extension Row {
    /// A value, or nothing if it is not of its type: a damaged file has anything anywhere, and GRDB's own access
    /// would end the process.
    fileprivate func value<Value: DatabaseValueConvertible>(_ column: Int) -> Value? {
        Value.fromDatabaseValue(self[column])
    }
}
