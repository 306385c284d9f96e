import Foundation
import Glibc
import Logging
import Synchronization
import WireFormat

/// All uploads under way, and a memory of the last that were completed.
///
/// Its calls marked so wait for the disk: call them on a ``DiskPool``.
final class UploadStore: Sendable {
    private let folders: FolderStore
    private let bootID: String
    private let state = Mutex(State())

    private struct State {
        var uploads: [UploadID: Upload] = [:]
        var completed = CompletedUploads()
    }

    /// Open uploads at most: each costs some hundred bytes of memory and two files.
    static let maximumCount = 100_000
    /// Open uploads at most in all filesystems of one owner, so that one client that runs wild does not keep others from
    /// writing. Clients have a handful each.
    static let maximumCountOfOwner = 10_000

    /// How long nobody has used an upload of a file that another upload has just replaced: then its client has most likely
    /// given it up, and written the file anew. Longer than a client waits for anything.
    private static let outdatedAge = Duration.seconds(600)

    /// Starts without uploads.
    ///
    /// - Parameters:
    ///   - folders: Where staging is.
    ///   - bootID: Of the machine's present start.
    init(folders: FolderStore, bootID: String = UploadJournal.currentBootID()) {
        self.folders = folders
        self.bootID = bootID
    }

    /// Takes up the uploads that an earlier process left. Waits for the disk.
    ///
    /// A staged file without a journal, or the other way round, is left of an upload that ended: it goes. What cannot be
    /// read or written is left for the next start, without its upload.
    ///
    /// - Parameters:
    ///   - owners: Of the filesystems.
    ///   - logger: Told of what is left.
    /// - Throws: `FolderError` if the filesystems cannot be listed.
    func recover(owners: [FilesystemID: String], logger: Logger) throws {
        for filesystem in try self.folders.filesystemIDs() {
            // A filesystem without the folder was made by hand, or half removed by it.
            guard let staging = try? self.folders.staging(of: filesystem) else { continue }
            let names: Set<String>
            do {
                names = Set(try staging.entries().map { String(decoding: $0.name, as: UTF8.self) })
            } catch {
                self.log(error, "a filesystem's uploads are left", "\(filesystem)", logger)
                continue
            }
            for name in names where !name.hasSuffix(UploadJournal.suffix) {
                guard names.contains(name + UploadJournal.suffix) else {
                    unlinkat(staging.number, name, 0)
                    continue
                }
                do {
                    let owner = owners[filesystem] ?? ""
                    if let upload = try self.readJournal(of: name, in: staging, of: filesystem, owner) {
                        self.state.withLock { $0.uploads[upload.id] = upload }
                    } else {
                        unlinkat(staging.number, name, 0)
                        unlinkat(staging.number, name + UploadJournal.suffix, 0)
                    }
                } catch {
                    self.log(error, "an upload is left", "\(filesystem)/staging/\(name)", logger)
                }
            }
            for name in names where name.hasSuffix(UploadJournal.suffix) {
                if !names.contains(String(name.dropLast(UploadJournal.suffix.count))) {
                    unlinkat(staging.number, name, 0)
                }
            }
        }
    }

    private func log(_ error: any Error, _ what: Logger.Message, _ place: String, _ logger: Logger) {
        logger.error(what, metadata: ["place": "\(place)", "cause": "\(error)"])
    }

    private func readJournal(
        of name: String,
        in staging: Descriptor,
        of filesystem: FilesystemID,
        _ owner: String
    ) throws -> Upload? {
        guard let id = UploadID(name) else { return nil }
        let path = UploadJournal.name(of: id)
        let file = try Descriptor.open(path, below: staging, flags: O_RDONLY)
        let status = try file.status()
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        guard var journal = UploadJournal(text, bootID: self.bootID) else { return nil }
        let noted = journal.received
        for lost in try Descriptor.open(name, below: staging, flags: O_RDONLY).holes(in: noted.ranges) {
            journal.received.remove(lost)
        }
        // Left alone where it can be: its time of change is the upload's last use.
        let header = journal.header(bootID: self.bootID)
        let lastUse = ContinuousClock.now - .seconds(max(0, time(nil) - status.st_mtim.tv_sec))
        let upload = Upload(
            id: id,
            filesystem: filesystem,
            owner: owner,
            journal: journal,
            lastUse: lastUse
        )
        if text.hasPrefix(header), text.hasSuffix("\n"), journal.received == noted { return upload }
        // A journal of an earlier boot becomes one of this boot, with nothing received; in one of this boot a
        // line that a crash cut off goes, and bytes that the disk has lost since, as one that failed and was mounted
        // again may. Beside it first: on a full disk it stays as it was.
        let changes = journal.received.ranges.map { UploadJournal.Change.received($0).line }
        let fresh = path + ".new"
        try Descriptor.open(fresh, below: staging, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
            .append(header + changes.joined())
        guard renameat(staging.number, fresh, staging.number, path) == 0 else {
            throw FolderError(call: "renameat", errno: errno)
        }
        return upload
    }

    /// Begins an upload in a filesystem of an owner. Waits for the disk.
    func begin(
        _ path: RemotePath,
        size: UInt64,
        in filesystem: FilesystemID,
        of owner: String
    ) throws -> UploadID {
        guard size <= UInt64(Int64.max) else { throw FolderError.tooLarge }
        let isRoom = self.state.withLock { state in
            state.uploads.count < Self.maximumCount
                && state.uploads.values.count { $0.owner == owner } < Self.maximumCountOfOwner
        }
        guard isRoom else { throw UploadError.tooMany }
        try self.folders.checkUpload(to: path, in: filesystem)
        guard let id = UploadID(RandomName.make()) else { throw UploadError.unknown }
        let journal = UploadJournal(size: size, path: path)
        let staging = try self.folders.staging(of: filesystem)
        let flags = O_WRONLY | O_CREAT | O_EXCL
        let file = try Descriptor.open(id.rawValue, below: staging, flags: flags, mode: 0o600)
        do {
            // Sparse; a size that this disk's file system cannot have is found here.
            guard ftruncate(file.number, off_t(size)) == 0 else {
                throw errno == EINVAL ? FolderError.tooLarge : FolderError(call: "ftruncate", errno: errno)
            }
            try Descriptor.open(UploadJournal.name(of: id), below: staging, flags: flags, mode: 0o600)
                .append(journal.header(bootID: self.bootID))
        } catch {
            self.removeFiles(of: id, in: staging)
            throw error
        }
        let upload = Upload(
            id: id,
            filesystem: filesystem,
            owner: owner,
            journal: journal,
            lastUse: .now
        )
        self.state.withLock { $0.uploads[id] = upload }
        return id
    }

    /// The upload of that id, if it is of that file.
    func upload(_ id: UploadID, of path: RemotePath, in filesystem: FilesystemID) throws(UploadError)
        -> Upload
    {
        let upload = self.state.withLock { $0.uploads[id] }
        guard let upload, upload.filesystem == filesystem, upload.path == path else { throw .unknown }
        return upload
    }

    /// Opens the staged bytes for writing. Waits for the disk.
    func openStaged(_ upload: Upload) throws -> Descriptor {
        do {
            let staging = try self.folders.staging(of: upload.filesystem)
            return try Descriptor.open(upload.id.rawValue, below: staging, flags: O_WRONLY)
        } catch FolderError.missing {
            throw UploadError.unknown
        }
    }

    /// Adds a line to an upload's journal. Waits for the disk.
    func record(_ change: UploadJournal.Change, of upload: Upload) throws {
        let staging = try self.folders.staging(of: upload.filesystem)
        let flags = O_WRONLY | O_APPEND
        try Descriptor.open(UploadJournal.name(of: upload.id), below: staging, flags: flags).append(
            change.line
        )
    }

    /// Puts the file in place, once every byte has arrived; again for one that was just completed: nothing.
    func complete(
        _ id: UploadID,
        of path: RemotePath,
        in filesystem: FilesystemID,
        on disk: DiskPool
    ) async throws {
        let place = CompletedUploads.Place(filesystem: filesystem, path: path)
        // In one step: it is completed from one moment to the next.
        let (upload, completed) = self.state.withLock { ($0.uploads[id], $0.completed[id]) }
        if completed == place { return }
        guard let upload, upload.filesystem == filesystem, upload.path == path else {
            throw UploadError.unknown
        }
        try await upload.complete {
            try await disk.run {
                try self.synchronize(upload)
                try self.folders.commit(id.rawValue, to: path, in: filesystem)
                try self.removeFiles(of: id, in: self.folders.staging(of: filesystem))
            }
            self.state.withLock { state in
                state.uploads[id] = nil
                state.completed[id] = place
            }
        }
        await self.sweep(unusedFor: Self.outdatedAge, of: place, on: disk)
    }

    /// Waits until the staged bytes are on the disk.
    ///
    /// A failure is told once: the kernel takes what it could not write for written then, and the next fsync(2) succeeds.
    /// So nothing of the upload counts any more.
    private func synchronize(_ upload: Upload) throws {
        let file = try self.openStaged(upload)
        do {
            try file.synchronize()
        } catch {
            upload.spoil()
            self.state.withLock { _ = $0.uploads.removeValue(forKey: upload.id) }
            try self.removeFiles(of: upload.id, in: self.folders.staging(of: upload.filesystem))
            throw error
        }
    }

    /// Gives an upload up.
    func abandon(_ upload: Upload, on disk: DiskPool) async throws {
        try await upload.abandon()
        try await self.remove(upload, on: disk)
    }

    /// Gives up the uploads that nobody has used for so long.
    ///
    /// - Parameters:
    ///   - age: For how long.
    ///   - place: Of which file; nothing for all.
    ///   - disk: Where the disk is waited for.
    /// - Returns: How many there were.
    @discardableResult
    func sweep(
        unusedFor age: Duration,
        of place: CompletedUploads.Place? = nil,
        on disk: DiskPool
    ) async -> Int {
        let limit = ContinuousClock.now - age
        let uploads = self.state.withLock { state in
            state.uploads.values.filter { upload in
                place.map { $0.path == upload.path && $0.filesystem == upload.filesystem } ?? true
            }
        }
        var count = 0
        for upload in uploads where upload.abandon(ifUnusedSince: limit) {
            // What stays on the disk the next start takes up, and sweeps again.
            try? await self.remove(upload, on: disk)
            count += 1
        }
        return count
    }

    private func remove(_ upload: Upload, on disk: DiskPool) async throws {
        self.state.withLock { _ = $0.uploads.removeValue(forKey: upload.id) }
        try await disk.run {
            try self.removeFiles(of: upload.id, in: self.folders.staging(of: upload.filesystem))
        }
    }

    /// Forgets the uploads of a filesystem that is gone, files and all.
    func forget(_ filesystem: FilesystemID) async {
        let uploads = self.state.withLock { state in
            let uploads = state.uploads.values.filter { $0.filesystem == filesystem }
            for upload in uploads { state.uploads[upload.id] = nil }
            return uploads
        }
        for upload in uploads { try? await upload.abandon() }
    }

    private func removeFiles(of id: UploadID, in staging: Descriptor) {
        // What is not there is what is wanted; anything else the next start finds and removes.
        unlinkat(staging.number, id.rawValue, 0)
        unlinkat(staging.number, UploadJournal.name(of: id), 0)
    }
}
