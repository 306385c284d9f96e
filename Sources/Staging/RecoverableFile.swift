import Glibc
import SystemPackage
import WireFormat

/// A file in a cache directory whose bytes are not on the service, or were not when their mount ended: what a person
/// can have back.
///
/// Everything here can be done beside a mount that uses the directory; it alone writes the journal.
public struct RecoverableFile: Sendable {
    /// What will become of it.
    public enum Standing: String, Sendable {
        /// Nothing by itself: it is for a person to restore or discard.
        case kept
        /// It is uploaded, by the mount that runs or else by the next one.
        case pending
        /// A program writes it through the mount that runs.
        case open
    }

    /// Its number, by which a person names it.
    public let number: UInt64
    /// Whose it is.
    public let filesystem: FilesystemID
    /// Where it was or goes, for a person; without a record only the end of it.
    public let path: String
    /// What will become of it.
    public let standing: Standing
    /// Why it is kept, or why its last upload failed; nothing if there is nothing to say.
    public let reason: String?
    /// What is here of it. Without a record it is not known whether there are holes: see ``isKnown``.
    public let content: Journal.Content
    /// Whether the journal says which bytes are here.
    public let isKnown: Bool
    /// The size in bytes of what the missing bytes come from; nothing if that is not known or there is nothing.
    public let baseSize: UInt64?
    /// When it first differed from the service's, in seconds since 1970.
    public let time: Int64
    /// Whether a mount has the directory.
    public let isMounted: Bool
    /// The local file.
    let file: FilePath
    private let directory: FilePath

    /// Whether all of the file is here.
    public var isWhole: Bool { self.isKnown && self.content.isWhole }

    /// How many of its bytes are here, as far as is known.
    public var localByteCount: UInt64 { self.content.extents?.byteCount ?? self.content.size }

    /// The files of one cache directory, the oldest first.
    ///
    /// - Parameters:
    ///   - directory: The directory of one filesystem.
    ///   - filesystem: Which one.
    /// - Returns: The files, and whether the journal could be read: if not, nothing is known of holes.
    public static func all(
        in directory: FilePath,
        of filesystem: FilesystemID
    ) -> (files: [RecoverableFile], isJournalReadable: Bool) {
        // In this order: what changes between the two is then found in its newer place.
        let isMounted = CacheDirectory.isInUse(directory)
        let staged = Self.paths(directory.appending("staging"))
        let recovered = Self.paths(directory.appending("recovered"))
        let records = Self.records(in: directory)
        let known = Dictionary((records ?? []).map { ($0.number, $0) }) { first, _ in first }
        let boot = Journal.currentBoot()
        let files = staged.merging(recovered) { $1 }.compactMap { number, file -> RecoverableFile? in
            // Uploaded, or discarded, by now.
            guard let length = CacheDirectory.length(of: file.path) else { return nil }
            return RecoverableFile(
                name: file.name,
                file: file.path,
                length: length,
                record: known[number],
                isRecovered: recovered[number] != nil,
                isMounted: isMounted,
                boot: boot,
                directory: directory,
                filesystem: filesystem
            )
        }
        return (files.sorted { $0.number < $1.number }, records != nil)
    }

    private init(
        name: StagingName,
        file: FilePath,
        length: UInt64,
        record: Journal.Record?,
        isRecovered: Bool,
        isMounted: Bool,
        boot: String,
        directory: FilePath,
        filesystem: FilesystemID
    ) {
        self.number = name.number
        self.filesystem = filesystem
        self.directory = directory
        self.file = file
        self.isMounted = isMounted
        self.isKnown = record != nil
        self.baseSize = record?.baseSize
        self.time = record?.time ?? Int64(clamping: name.number >> 20)
        self.path = record?.path?.description ?? name.labelText
        let (state, content) =
            record?.judged(length: length, boot: boot) ?? (nil, Journal.Content(size: length))
        self.content = content
        if isRecovered || !isMounted && state == nil {
            self.standing = .kept
            self.reason = record?.reasonToKeep(boot: boot) ?? "the journal does not know it"
        } else if isMounted && record?.state ?? .open == .open {
            self.standing = .open
            self.reason = nil
        } else {
            self.standing = .pending
            self.reason = record?.reason
        }
    }

    /// The dirty files in a directory, by number.
    private static func paths(_ directory: FilePath) -> [UInt64: (name: StagingName, path: FilePath)] {
        let files = CacheDirectory.names(in: directory).compactMap { text in
            StagingName(dirty: text).map { (name: $0, path: directory.appending(text)) }
        }
        return Dictionary(files.map { ($0.name.number, $0) }) { first, _ in first }
    }

    /// The journal's records; nothing if it cannot be read.
    private static func records(in directory: FilePath) -> [Journal.Record]? {
        let path = JournalDatabase.path(in: directory)
        guard CacheDirectory.length(of: path) != nil else { return [] }
        return try? JournalDatabase(reading: path).records()
    }

    /// Takes the file off the disk, for ever.
    ///
    /// - Throws: If a mount still has to do with it, or it cannot be removed.
    public func discard() throws(CacheDirectoryError) {
        if self.file.removingLastComponent().lastComponent == "recovered" { return try self.unlink() }
        // Else no mount may come to use it meanwhile.
        let cache = try CacheDirectory(in: self.directory.removingLastComponent(), for: self.filesystem)
        try withExtendedLifetime(cache) { () throws(CacheDirectoryError) in try self.unlink() }
    }

    private func unlink() throws(CacheDirectoryError) {
        guard Glibc.unlink(self.file.string) == 0 else {
            throw CacheDirectoryError(description: "cannot remove \(self.file): \(Errno(rawValue: errno))")
        }
    }
}
