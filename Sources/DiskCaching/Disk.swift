import GRDB
import Logging
import Synchronization

/// What a working cache has on the disk.
final class Disk: Sendable {
    let directory: BlockDirectory
    let catalogue: BlockCatalogue
    let segments: SegmentFiles
    /// Where blocks are written to; the writer's thread alone looks at it.
    let tail = Mutex<Tail?>(nil)
    /// What lies in segments and is not in the catalogue yet; the writer's thread alone looks at it.
    let written = Mutex(Written())

    /// Blocks in their places.
    struct Written: Sendable {
        /// In each the blocks of one file, in the order in which they lie in segments.
        var runs: [(file: DiskFile, blocks: ArraySlice<StoredBlock>)] = []
        /// How many blocks there are.
        var count = 0
        /// Whether the catalogue hears of them soon in any case.
        var isCommitDue = false
    }

    /// The segment that is appended to.
    struct Tail: Sendable {
        let number: UInt32
        let file: SegmentFile
        /// The length in bytes of what it has.
        var byteCount: Int
    }

    /// Opens the catalogue. One that is damaged, or too large for the budget, is thrown away: it never shrinks.
    init(_ directory: BlockDirectory, budget: UInt64, segmentByteCount: Int, logger: Logger) throws {
        self.directory = directory
        self.segments = SegmentFiles(in: directory.segments)
        if directory.catalogueByteCount > budget / 2 { try directory.removeCatalogue() }
        do {
            self.catalogue = try BlockCatalogue(directory.catalogue, segmentByteCount: segmentByteCount)
        } catch let error where error.isCorruption {
            logger.warning(
                "the disk cache: its catalogue is damaged; it is begun anew",
                metadata: ["cause": "\(error)"]
            )
            try directory.removeCatalogue()
            self.catalogue = try BlockCatalogue(directory.catalogue, segmentByteCount: segmentByteCount)
        }
    }
}

extension Error {
    /// Whether an error of the catalogue says that it is not as we made it (any more).
    var isCorruption: Bool {
        // Other errors than SQLite's are GRDB's about values that are not of their columns' types.
        guard let error = self as? DatabaseError else { return true }
        return switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH: true
        default: false
        }
    }
}
