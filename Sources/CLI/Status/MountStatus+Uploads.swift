import VFS

extension MountStatus {
    /// What is not uploaded yet, and what went wrong with that.
    struct Uploads: Codable, Sendable, Equatable {
        /// Files and their bytes.
        struct Amount: Codable, Sendable, Equatable {
            /// How many files.
            var files: Int
            /// How many bytes.
            var bytes: UInt64

            /// For a person.
            var text: String { "\(self.files) \(self.files == 1 ? "file" : "files"), \(self.bytes) bytes" }
        }

        /// A file whose last upload failed.
        struct Failure: Codable, Sendable, Equatable {
            /// Where it is.
            var path: String
            /// Its size in bytes.
            var bytes: UInt64
            /// Why.
            var reason: String
        }

        /// Bytes that were uploaded beside what others put in their place.
        struct Conflict: Codable, Sendable, Equatable {
            /// Where they were written.
            var path: String
            /// Where they went.
            var copy: String
        }

        /// How many of each kind are told one by one.
        static let listLimit = 10

        /// `sync` or `write-back`.
        var writes: String
        /// Written, and covered by no close or fsync.
        var open: Amount
        /// Waiting to be uploaded.
        var pending: Amount
        /// Being uploaded.
        var uploading: Amount
        /// How many files' last upload failed.
        var failedCount: Int
        /// The first of those.
        var failed: [Failure]
        /// How many conflicts there were since the mount began.
        var conflictCount: Int
        /// The last of those.
        var conflicts: [Conflict]
        /// How many files were put where `tetherfs recover` finds them, since the mount began.
        var keptCount: Int
        /// The directories that are being renamed, and how far they are.
        var renames: [String]

        /// What waits, and what is on its way.
        var unsent: Amount {
            Amount(
                files: self.pending.files + self.uploading.files,
                bytes: self.pending.bytes + self.uploading.bytes
            )
        }

        /// Takes what the filesystem tells.
        init(writes: WriteOptions.Mode, _ status: UploadStatus) {
            self.writes = writes.rawValue
            self.open = Amount(files: status.open.fileCount, bytes: status.open.byteCount)
            self.pending = Amount(files: status.pending.fileCount, bytes: status.pending.byteCount)
            self.uploading = Amount(files: status.uploading.fileCount, bytes: status.uploading.byteCount)
            self.failedCount = status.failed.count
            self.failed = status.failed.prefix(Self.listLimit).map {
                Failure(path: $0.place, bytes: $0.byteCount, reason: $0.error.description)
            }
            self.conflictCount = status.conflictCount
            self.conflicts = status.conflicts.suffix(Self.listLimit).map {
                Conflict(path: $0.path, copy: $0.copy)
            }
            self.keptCount = status.keptCount
            self.renames = Array(status.renames.prefix(Self.listLimit))
        }

        /// The same for a person.
        var lines: [String] {
            var lines = ["writes: \(self.writes)"]
            if self.open.files > 0 { lines.append("open and changed: \(self.open.text)") }
            let isWaiting = self.unsent.files > 0
            lines.append(isWaiting ? "to upload: \(self.pending.text)" : "to upload: nothing")
            if self.uploading.files > 0 { lines.append("on their way: \(self.uploading.text)") }
            if self.failedCount > 0 { lines.append("failed: \(self.failedCount)") }
            lines += self.failed.map { "  \($0.path): \($0.reason)" }
            if self.conflictCount > 0 { lines.append("conflicts: \(self.conflictCount)") }
            lines += self.conflicts.map { "  \($0.path): kept beside it as \($0.copy)" }
            if self.keptCount > 0 { lines.append("kept for tetherfs recover: \(self.keptCount)") }
            lines += self.renames.map { "renaming: \($0)" }
            return lines
        }
    }
}
