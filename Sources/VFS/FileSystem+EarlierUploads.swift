import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

// Uploads that earlier mounts began and did not complete: some services list them, as `NAME.ID`, until they are deleted.

extension FileSystem {
    /// An upload that the service lists and that nobody goes on with.
    private struct DeadUpload {
        let id: UploadID
        /// What the service lists.
        let path: RemotePath
        let name: FileName
        let directory: InodeNumber
    }

    /// Hides what the service lists of uploads that earlier mounts began, and has what is not gone on with deleted in the
    /// background. Of what cannot be asked for now the next mount asks.
    ///
    /// - Parameter leftovers: What is uploaded now.
    func hideEarlierUploads(of leftovers: [StagingStore.Leftover]) async {
        let resumed = Set(leftovers.compactMap { $0.file.isWhole ? $0.record.upload?.id : nil })
        let byDirectory = Dictionary(grouping: self.staging.earlierUploads) { $0.value.parent }
        let places = AsyncSemaphore(Self.recoveryConcurrency)
        let dead = await withTaskGroup(of: [DeadUpload].self) { group in
            for (path, uploads) in byDirectory {
                group.addTask {
                    do { try await places.acquire() } catch { return [] }
                    defer { places.release() }
                    do throws(RemoteError) {
                        return try await self.hide(uploads, in: path, besides: resumed)
                    } catch {
                        self.logger.notice(
                            "uploads that an earlier mount began are not looked for",
                            metadata: ["directory": "\(path)", "cause": "\(error)"]
                        )
                        return []
                    }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        if !dead.isEmpty { Task { await self.delete(dead) } }
    }

    /// Hides what a directory shows of uploads.
    ///
    /// - Returns: Those that are not gone on with.
    private func hide(
        _ uploads: [(key: UploadID, value: RemotePath)],
        in path: RemotePath,
        besides resumed: Set<UploadID>
    ) async throws(RemoteError) -> [DeadUpload] {
        let directory = try await self.findDirectory(path)
        defer { if let directory { self.namespace.unpin(directory) } }
        if let directory { try await self.namespace.ensureListed(directory) }
        var dead: [DeadUpload] = []
        for (upload, file) in uploads {
            guard let directory, let name = file.name, let listed = FileName("\(name).\(upload)"),
                self.namespace.known(listed, in: directory)?.kind == .file
            else {
                if !resumed.contains(upload) { self.staging.journal.removeUpload(upload) }
                continue
            }
            self.namespace.hideStagingName(of: upload, for: name, in: directory)
            guard !resumed.contains(upload) else { continue }
            dead.append(
                DeadUpload(id: upload, path: path.appending(listed), name: listed, directory: directory)
            )
        }
        return dead
    }

    /// Deletes what is left of uploads; nobody else has their ids in a name.
    private func delete(_ uploads: [DeadUpload]) async {
        for upload in uploads {
            do throws(RemoteError) {
                try await self.remote.delete(upload.path, kind: .file)
            } catch .notFound {
            } catch {
                // It stays hidden, and the next mount tries again.
                self.logger.notice(
                    "what is left of an upload that an earlier mount began cannot be deleted",
                    metadata: ["path": "\(upload.path)", "cause": "\(error)"]
                )
                continue
            }
            self.namespace.unhideStagingName(upload.name, in: upload.directory)
            self.staging.journal.removeUpload(upload.id)
        }
    }
}
