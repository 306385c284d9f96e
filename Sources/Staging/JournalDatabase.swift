import Foundation
import GRDB
import Glibc
import SystemPackage
import WireFormat

/// The journal in SQLite. Calls block: they belong on the journal's thread.
final class JournalDatabase: Sendable {
    /// Made by a version of the program that this one does not know.
    struct LaterVersion: Error {
        let version: Int
    }

    /// What is read at the start.
    struct Start: Sendable {
        var records: [Journal.Record]
        var uploads: [UploadID: RemotePath]
        var firstMountTime: Int64
        var lastMove: Int64
        /// The highest number of what attributes are remembered of; nothing if there are none.
        var highestNumber: UInt64?
    }

    let queue: DatabaseQueue
    private let log: String

    /// A longer log, in bytes, is written to its place.
    private static let logLimit = 4 << 20

    static func path(in directory: FilePath) -> FilePath { directory.appending("journal.sqlite") }

    /// Opens the journal to be written, making it in an empty file.
    ///
    /// - Throws: `DatabaseError` if it is no database, is damaged, or cannot be written.
    init(_ path: FilePath) throws {
        var configuration = Configuration()
        // Else GRDB would end the process over a transaction that a failing disk does not let end.
        configuration.allowsUnsafeTransactions = true
        // `tetherfs recover` may be reading it.
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            // What somebody waits for turns this to FULL for its transaction.
            try database.execute(sql: "PRAGMA synchronous = NORMAL")
            try database.execute(sql: "PRAGMA journal_size_limit = \(Self.logLimit)")
            // What SQLite does by itself at the end of a transaction tells nobody of a sync that fails.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        }
        self.queue = try DatabaseQueue(path: path.string, configuration: configuration)
        self.log = path.string + "-wal"
        let version = try self.queue.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 }
        guard version <= 1 else { throw LaterVersion(version: version) }
        if version == 0 { try self.queue.write { try $0.execute(sql: Self.schema) } }
        try self.queue.write { try Self.complete($0) }
        guard try self.queue.read({ try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }) == "ok" else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT)
        }
    }

    /// Opens a journal to be read, beside whoever writes it.
    init(reading path: FilePath) throws {
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(5)
        self.log = path.string + "-wal"
        self.queue = try DatabaseQueue(path: path.string, configuration: configuration)
    }

    private static let schema = """
        CREATE TABLE records (
            number INTEGER NOT NULL PRIMARY KEY,
            path TEXT,
            state TEXT NOT NULL,
            size INTEGER NOT NULL,
            extents BLOB,
            synced_size INTEGER,
            synced_extents BLOB,
            is_promised INTEGER NOT NULL,
            base_size INTEGER,
            completing_size INTEGER,
            upload TEXT,
            part_size INTEGER,
            reason TEXT,
            time INTEGER NOT NULL,
            boot TEXT NOT NULL
        );
        CREATE INDEX records_by_path ON records (path);
        CREATE TABLE parts (
            number INTEGER NOT NULL,
            part INTEGER NOT NULL,
            PRIMARY KEY (number, part)
        ) WITHOUT ROWID;
        CREATE TABLE attributes (
            parent TEXT NOT NULL,
            name TEXT NOT NULL,
            number INTEGER NOT NULL,
            size INTEGER,
            mode INTEGER,
            uid INTEGER,
            gid INTEGER,
            atime INTEGER,
            atime_ns INTEGER,
            mtime INTEGER,
            mtime_ns INTEGER,
            ctime INTEGER,
            ctime_ns INTEGER,
            PRIMARY KEY (parent, name)
        ) WITHOUT ROWID;
        CREATE INDEX attributes_by_number ON attributes (number);
        CREATE TABLE moves (
            id INTEGER NOT NULL PRIMARY KEY,
            source TEXT NOT NULL,
            target TEXT NOT NULL,
            kind TEXT NOT NULL,
            stage TEXT NOT NULL
        );
        CREATE TABLE copied (
            move INTEGER NOT NULL,
            path TEXT NOT NULL,
            size INTEGER,
            PRIMARY KEY (move, path)
        ) WITHOUT ROWID;
        CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        INSERT INTO meta VALUES ('commits', '0');
        PRAGMA user_version = 1;
        """

    /// Adds what journals do not have that were made before it was thought of; who wrote those does not mind it.
    private static func complete(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS uploads (
                    upload TEXT NOT NULL PRIMARY KEY,
                    path TEXT NOT NULL
                ) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS grown (
                    number INTEGER NOT NULL PRIMARY KEY,
                    size INTEGER NOT NULL,
                    extents BLOB
                );
                """
        )
        if try !database.columns(in: "records").contains(where: { $0.name == "synced_upload" }) {
            try database.execute(sql: "ALTER TABLE records ADD COLUMN synced_upload TEXT")
        }
    }

    /// Writes changes in one transaction.
    ///
    /// - Parameters:
    ///   - changes: In order.
    ///   - boot: Names this start of the machine.
    ///   - isSynced: Whether they, and all before, are to be on the disk when this returns.
    /// - Throws: Why none of them is written.
    func write(_ changes: [JournalChange], boot: String, isSynced: Bool) throws {
        try self.queue.writeWithoutTransaction { database in
            if isSynced { try database.execute(sql: "PRAGMA synchronous = FULL") }
            defer { if isSynced { try? database.execute(sql: "PRAGMA synchronous = NORMAL") } }
            try database.inTransaction(.immediate) {
                for change in changes { try Self.apply(change, boot: boot, database) }
                // A transaction that changes nothing would not make the ones before it durable.
                if isSynced {
                    try database.cachedStatement(
                        sql: "UPDATE meta SET value = value + 1 WHERE key = 'commits'"
                    ).execute()
                }
                return .commit
            }
        }
    }

    /// Writes as much of the log to its place as readers allow, if it is long.
    ///
    /// - Throws: `DatabaseError` where that fails.
    func shorten() throws {
        var status = stat()
        guard stat(self.log, &status) == 0, status.st_size > Self.logLimit else { return }
        try self.queue.writeWithoutTransaction { _ = try $0.checkpoint(.passive) }
    }

    /// Writes all of the log to its place, durably, and begins it anew.
    ///
    /// - Throws: `DatabaseError` where it is not done, such as while somebody reads.
    func fold() throws { try self.queue.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) } }

    /// Whether an error says that what was written before may not be on the disk either: the kernel tells of it once, and
    /// has given it up by then (fsync(2)).
    static func isLoss(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return false }
        return error.extendedResultCode == .SQLITE_IOERR_FSYNC
    }

    /// Reads what would be there if changes were written that cannot be.
    ///
    /// - Parameters:
    ///   - changes: In order.
    ///   - boot: Names this start of the machine.
    ///   - body: Reads.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws, or why the changes cannot be made even in memory.
    func read<Value>(
        after changes: [JournalChange],
        boot: String,
        _ body: () throws -> Value
    ) throws -> Value {
        if changes.isEmpty { return try body() }
        defer {
            try? self.queue.writeWithoutTransaction { database in
                try database.rollback()
                try database.execute(sql: "PRAGMA cache_spill = ON")
            }
        }
        try self.queue.writeWithoutTransaction { database in
            // The disk, which may be full, gets nothing of it.
            try database.execute(sql: "PRAGMA cache_spill = OFF")
            try database.beginTransaction(.immediate)
            for change in changes { try Self.apply(change, boot: boot, database) }
        }
        return try body()
    }

    // MARK: Files and errors

    /// Gives a damaged journal another name.
    ///
    /// - Returns: Its new path.
    static func moveAside(_ path: FilePath) throws(CacheDirectoryError) -> FilePath {
        let suffix = ".damaged-\(time(nil))"
        // The log first: it must not be taken for that of a new journal.
        for ending in ["-wal", "-shm", ""] {
            if rename(path.string + ending, path.string + suffix + ending) == 0 { continue }
            let cause = Errno(rawValue: Glibc.errno)
            if cause == .noSuchFileOrDirectory { continue }
            throw CacheDirectoryError(description: "cannot move the damaged journal \(path) aside: \(cause)")
        }
        return FilePath(path.string + suffix)
    }

    /// Whether an error says that the journal is not as we made it.
    static func isCorruption(_ error: any Error) -> Bool {
        // Other errors than SQLite's are GRDB's about values that are not of their columns' types.
        guard let error = error as? DatabaseError else { return true }
        return switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH: true
        default: false
        }
    }

    /// What a failure means for who waits.
    static func errno(of error: any Error) -> Errno {
        guard let error = error as? DatabaseError else { return .ioError }
        return switch error.resultCode {
        case .SQLITE_FULL: .noSpace
        case .SQLITE_READONLY: .readOnlyFileSystem
        case .SQLITE_PERM, .SQLITE_CANTOPEN: .permissionDenied
        // The log's index grows by this call alone.
        case .SQLITE_IOERR where error.extendedResultCode == .SQLITE_IOERR_SHMSIZE: .noSpace
        default: .ioError
        }
    }
}
