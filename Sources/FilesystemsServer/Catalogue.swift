import Foundation
import GRDB
import Synchronization
import WireFormat

/// Users, keys, filesystems and shares, in SQLite.
///
/// Requests are checked against a snapshot in memory. Another process (`tetherfs-server user …`) changes the
/// file beside us: the snapshot is compared with the file when it is older than ``maximumAge``, and at once
/// when something is not in it.
final class Catalogue: Sendable {
    let database: DatabaseQueue
    /// A second connection: whoever asks who may do what does not wait for a change that waits for the disk.
    private let reader: DatabaseQueue
    private let state: Mutex<State>

    private struct State {
        var snapshot = CatalogueSnapshot()
        var checked: ContinuousClock.Instant
    }

    /// How long a removed user's key may still work. A check costs some 30 µs; four a second are nothing,
    /// and well inside the second that docs/server.md promises.
    static let maximumAge = Duration.milliseconds(250)

    /// Opens the catalogue, making its tables in an empty file.
    ///
    /// - Parameter path: Of the database file.
    /// - Throws: `DatabaseError` if it is no database or cannot be written.
    init(path: String) throws {
        var configuration = Configuration()
        // A `user` command holds the lock for milliseconds.
        configuration.busyMode = .timeout(10)
        configuration.foreignKeysEnabled = true
        configuration.prepareDatabase { database in
            // A user or a filesystem that was reported as made stays, also after a power failure. GRDB's own switch to this
            // mode comes later, and has SQLite sync less.
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        self.database = try DatabaseQueue(path: path, configuration: configuration)
        try self.database.write { database in try database.execute(sql: Self.schema) }
        var reading = Configuration()
        reading.readonly = true
        reading.busyMode = .timeout(10)
        self.reader = try DatabaseQueue(path: path, configuration: reading)
        self.state = Mutex(State(checked: .now))
        try self.reader.read { database in try self.load(database) }
    }

    deinit {
        // In this order: the last one folds the log into the file, so that whoever copies or replaces that has all of it.
        try? self.reader.close()
        try? self.database.close()
    }

    // WITHOUT ROWID would save nothing here: the tables are small and read whole.
    private static let schema = """
        CREATE TABLE IF NOT EXISTS users (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            key_hash BLOB NOT NULL UNIQUE
        );
        CREATE TABLE IF NOT EXISTS filesystems (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL REFERENCES users (id),
            name TEXT NOT NULL,
            UNIQUE (owner, name)
        );
        CREATE TABLE IF NOT EXISTS shares (
            filesystem TEXT NOT NULL REFERENCES filesystems (id) ON DELETE CASCADE,
            grantee TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            PRIMARY KEY (filesystem, grantee)
        );
        """

    // MARK: Reading

    /// How much a reader needs of a snapshot.
    enum Freshness {
        /// At most ``maximumAge`` old.
        case recent
        /// Compared with the file now.
        case checked
    }

    /// The catalogue as it is, or was a moment ago.
    func snapshot(_ freshness: Freshness = .recent) async throws -> CatalogueSnapshot {
        if case .recent = freshness {
            let known = self.state.withLock { state in
                state.checked.duration(to: .now) < Self.maximumAge ? state.snapshot : nil
            }
            if let known { return known }
        }
        return try await self.reader.read { database in
            let version = try Int.fetchOne(database, sql: "PRAGMA data_version") ?? 0
            // The queue runs one at a time, so no older snapshot can be put over a newer one.
            if self.state.withLock({ $0.snapshot.version != version }) { try self.load(database) }
            return self.state.withLock { state in
                state.checked = .now
                return state.snapshot
            }
        }
    }

    /// The names of the folders of all filesystems that there are.
    func knownNames() async throws -> Set<String> {
        Set(try await self.snapshot(.checked).filesystems.keys.map(\.rawValue))
    }

    private func load(_ database: Database) throws {
        var snapshot = CatalogueSnapshot()
        snapshot.version = try Int.fetchOne(database, sql: "PRAGMA data_version") ?? 0
        for row in try Row.fetchAll(database, sql: "SELECT id, name, key_hash FROM users") {
            let hash: [UInt8] = Array(row["key_hash"] as Data)
            snapshot.users[KeyHash(bytes: hash)] = User(id: row["id"], name: row["name"])
        }
        for row in try Row.fetchAll(database, sql: "SELECT id, owner, name FROM filesystems") {
            guard let id = FilesystemID(row["id"]) else { continue }
            snapshot.filesystems[id] = FilesystemRecord(id: id, owner: row["owner"], name: row["name"])
        }
        for row in try Row.fetchAll(database, sql: "SELECT filesystem, grantee FROM shares") {
            guard let id = FilesystemID(row["filesystem"]) else { continue }
            snapshot.grantees[id, default: []].insert(row["grantee"])
        }
        self.state.withLock { $0.snapshot = snapshot }
    }

    // MARK: Changing

    /// Changes the file and, before it returns, the snapshot.
    private func change<Result: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Result
    ) async throws -> Result {
        let result = try await self.database.write(body)
        // It is done, also where it cannot be read now; who reads next compares.
        do {
            _ = try await self.snapshot(.checked)
        } catch {
            self.state.withLock { $0.checked = .now - Self.maximumAge }
        }
        return result
    }

    /// Adds a user.
    func add(_ user: User, key: KeyHash) async throws {
        try await self.change { database in
            if try Self.exists(database, "SELECT 1 FROM users WHERE name = ?", [user.name]) {
                throw CatalogueError.nameTaken(user.name)
            }
            try Self.refuseTaken(key, database)
            try database.execute(
                sql: "INSERT INTO users (id, name, key_hash) VALUES (?, ?, ?)",
                arguments: [user.id, user.name, Data(key.bytes)]
            )
        }
    }

    /// Gives a user another key; the old one ends.
    func setKey(_ key: KeyHash, ofUserNamed name: String) async throws -> User {
        try await self.change { database in
            try Self.refuseTaken(key, database)
            try database.execute(
                sql: "UPDATE users SET key_hash = ? WHERE name = ?",
                arguments: [Data(key.bytes), name]
            )
            let id = try String.fetchOne(
                database,
                sql: "SELECT id FROM users WHERE name = ?",
                arguments: [name]
            )
            guard let id else { throw CatalogueError.noSuchUser }
            return User(id: id, name: name)
        }
    }

    /// Removes a user who owns no filesystem, and what was shared with it.
    func removeUser(id: String) async throws {
        try await self.change { database in
            try database.execute(sql: "DELETE FROM users WHERE id = ?", arguments: [id])
        }
    }

    /// Filesystems of one user at most: each change reads all of the catalogue, and each is kept in memory.
    static let maximumCountOfOwner = 1000

    /// Adds a filesystem.
    func add(_ filesystem: FilesystemRecord) async throws {
        try await self.change { database in
            let (owner, name) = (filesystem.owner, filesystem.name)
            let count = try Int.fetchOne(
                database,
                sql: "SELECT COUNT(*) FROM filesystems WHERE owner = ?",
                arguments: [owner]
            )
            guard count ?? 0 < Self.maximumCountOfOwner else { throw CatalogueError.tooManyFilesystems }
            if try Self.exists(
                database,
                "SELECT 1 FROM filesystems WHERE owner = ? AND name = ?",
                [owner, name]
            ) {
                throw CatalogueError.nameTaken(name)
            }
            try database.execute(
                sql: "INSERT INTO filesystems (id, owner, name) VALUES (?, ?, ?)",
                arguments: [filesystem.id.rawValue, owner, name]
            )
        }
    }

    /// Removes a filesystem's name and its shares.
    func removeFilesystem(_ id: FilesystemID) async throws {
        try await self.change { database in
            try database.execute(sql: "DELETE FROM filesystems WHERE id = ?", arguments: [id.rawValue])
        }
    }

    /// Lets another user in.
    func share(_ id: FilesystemID, with grantee: String) async throws {
        try await self.change { database in
            guard try Self.exists(database, "SELECT 1 FROM filesystems WHERE id = ?", [id.rawValue]) else {
                throw CatalogueError.noSuchFilesystem
            }
            guard try Self.exists(database, "SELECT 1 FROM users WHERE id = ?", [grantee]) else {
                throw CatalogueError.noSuchUser
            }
            let share = [id.rawValue, grantee]
            if try Self.exists(database, "SELECT 1 FROM shares WHERE filesystem = ? AND grantee = ?", share) {
                throw CatalogueError.alreadyShared
            }
            try database.execute(
                sql: "INSERT INTO shares (filesystem, grantee) VALUES (?, ?)",
                arguments: [id.rawValue, grantee]
            )
        }
    }

    private static func refuseTaken(_ key: KeyHash, _ database: Database) throws {
        let taken = try Bool.fetchOne(
            database,
            sql: "SELECT EXISTS (SELECT 1 FROM users WHERE key_hash = ?)",
            arguments: [Data(key.bytes)]
        )
        if taken == true { throw CatalogueError.keyTaken }
    }

    private static func exists(_ database: Database, _ query: String, _ arguments: [String]) throws -> Bool {
        try Int.fetchOne(database, sql: query, arguments: StatementArguments(arguments)) != nil
    }
}
