import Inodes
import Primitives
import Synchronization

/// What a mount has still to upload, and what went wrong with that.
public struct UploadStatus: Sendable {
    /// Files and their bytes.
    public struct Amount: Sendable, Hashable {
        /// How many files.
        public var fileCount = 0
        /// How many bytes.
        public var byteCount: UInt64 = 0

        mutating func add(_ byteCount: UInt64) {
            self.fileCount += 1
            self.byteCount += byteCount
        }
    }

    /// Bytes that were uploaded beside what others put in their place.
    public struct Conflict: Sendable, Hashable {
        /// Where they were written.
        public var path: String
        /// Where they went.
        public var copy: String
    }

    /// Written, and covered by no close or fsync.
    public var open = Amount()
    /// Waiting to be uploaded, failed ones too.
    public var pending = Amount()
    /// Being uploaded.
    public var uploading = Amount()
    /// Those whose last upload failed, in the order of their paths.
    public var failed: [FileSystem.UnsentFile] = []
    /// The last conflicts since the mount began.
    public var conflicts: [Conflict] = []
    /// How many there were.
    public var conflictCount = 0
    /// How many files were put where `tetherfs recover` finds them, since the mount began.
    public var keptCount = 0
    /// The directories that are being renamed, and how far they are, for a person.
    public var renames: [String] = []

    /// Nothing is to be uploaded, and nothing went wrong.
    public init() {}
}

extension FileSystem {
    /// What has still to be uploaded, and what went wrong with that.
    public var uploadStatus: UploadStatus {
        var status = UploadStatus()
        let running = self.queue.running
        for content in self.dirtyContents {
            let size = content.staged?.size ?? 0
            if running.contains(content.inode) {
                status.uploading.add(size)
            } else if content.staged?.stage == .open {
                status.open.add(size)
            } else {
                status.pending.add(size)
            }
            if let error = content.state.withLock({ $0.lastError }) {
                let place = self.namespace.path(of: content.inode)?.description ?? "?"
                status.failed.append(UnsentFile(place: place, byteCount: size, error: error))
            }
        }
        status.failed.sort { $0.place < $1.place }
        let incidents = self.incidents.withLock { $0 }
        status.conflicts = incidents.conflicts.map {
            UploadStatus.Conflict(path: $0.path.description, copy: $0.copy.description)
        }
        status.conflictCount = incidents.conflictCount
        status.keptCount = incidents.keptCount
        status.renames = self.renames.withLock { $0.values.sorted() }
        return status
    }
}
