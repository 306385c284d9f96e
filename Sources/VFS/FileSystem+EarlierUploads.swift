import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

// Uploads that earlier mounts began and did not complete: some services list them, as `NAME.ID`, until they are deleted.

extension FileSystem {
    /// Hides what the service lists of uploads that earlier mounts began, and has what is not gone on with deleted in the
    /// background. Of what cannot be asked for now the next mount asks.
    ///
    /// - Parameter leftovers: What is uploaded now.
    func hideEarlierUploads(of leftovers: [StagingStore.Leftover]) async {
        let resumed = Set(leftovers.compactMap { $0.file.isWhole ? $0.record.upload?.id : nil })
        let byDirectory = Dictionary(grouping: self.staging.earlierUploads) { $0.value.parent }
        let places = AsyncSemaphore(Self.recoveryConcurrency)
        let dead = await withTaskGroup(of: [ListedUpload].self) { group in
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
    ) async throws(RemoteError) -> [ListedUpload] {
        let directory = try await self.findDirectory(path)
        defer { if let directory { self.namespace.unpin(directory) } }
        if let directory { try await self.namespace.ensureListed(directory) }
        var dead: [ListedUpload] = []
        for (upload, file) in uploads {
            guard let directory, let name = file.name,
                let listed = ListedUpload(upload, of: file, in: directory),
                self.namespace.known(listed.name, in: directory)?.kind == .file
            else {
                if !resumed.contains(upload) { self.staging.journal.removeUpload(upload) }
                continue
            }
            self.namespace.hideStagingName(of: upload, for: name, in: directory)
            if !resumed.contains(upload) { dead.append(listed) }
        }
        return dead
    }

    /// Deletes what is left of uploads; nobody else has their ids in a name.
    func delete(_ uploads: [ListedUpload]) async {
        for upload in uploads {
            do throws(RemoteError) {
                try await self.remote.delete(upload.path, kind: .file)
            } catch .notFound {
            } catch {
                // It stays hidden, and the next mount tries again.
                self.logger.notice(
                    "what is left of an upload that was given up cannot be deleted",
                    metadata: ["path": "\(upload.path)", "cause": "\(error)"]
                )
                continue
            }
            self.forget(upload)
        }
    }

    /// The service does not list an upload, nor will it any more.
    func forget(_ upload: ListedUpload) {
        self.namespace.unhideStagingName(upload.name, in: upload.directory)
        self.staging.journal.removeUpload(upload.id)
    }
}
