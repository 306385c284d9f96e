import Glibc
import WireFormat

/// What a start does with what a crash left half done.
struct Recovery: Sendable {
    let catalogue: Catalogue
    let folders: FolderStore

    /// Finishes deletions of filesystems, and removes the empty folders of a creation that was cut short.
    ///
    /// A folder with files in it that the catalogue does not know is left alone: the catalogue may be the one
    /// that is wrong, restored from an old copy.
    func run() async throws {
        let known = try await self.catalogue.snapshot(.checked).filesystems.keys
        let found = Set(try self.folders.filesystemIDs())
        for id in known where !found.contains(id) && self.folders.isTakenAway(id) {
            try await self.catalogue.removeFilesystem(id)
        }
        for id in found.subtracting(known) { self.folders.removeIfEmpty(id) }
    }
}
