import GRDB
import TestKit
import Testing

@testable import FilesystemsServer

@Suite("The catalogue")
struct CatalogueTests {
    @Test("What is changed is on the disk before the change is told")
    func synced() async throws {
        let directory = TemporaryDirectory()
        let catalogue = try Catalogue(path: directory.path + "/catalogue.sqlite")
        let (mode, synchronous) = try await catalogue.database.read { database in
            (
                try String.fetchOne(database, sql: "PRAGMA journal_mode"),
                try Int.fetchOne(database, sql: "PRAGMA synchronous")
            )
        }
        // FULL.
        #expect(mode == "wal" && synchronous == 2)
    }
}
