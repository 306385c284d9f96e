import GRDB

/// Another program that holds the catalogue's lock.
final class Holder: Sendable {
    private let database: DatabaseQueue

    init(of path: String) throws {
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        self.database = try DatabaseQueue(path: path, configuration: configuration)
        try self.database.inDatabase { try $0.beginTransaction(.immediate) }
    }

    func release() throws {
        try self.database.inDatabase { try $0.rollback() }
    }
}
