import Inodes
import RemoteAPI
import Staging
import WireFormat

// Uploads of this mount that were given up: some services list them until they are deleted.

extension FileSystem {
    /// Has uploads deleted, in the background, that nobody goes on with.
    func deleteGivenUpUploadsSoon() {
        let begun = self.uploader.begun
        guard begun.beginSearch() else { return }
        let delay = self.options.givenUpDelay
        Task { [weak self] in
            var pause = delay
            repeat {
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, max(.seconds(60), delay))
                await self?.deleteGivenUpUploads()
            } while self != nil && !begun.endSearch()
        }
    }

    /// Deletes uploads that nobody goes on with, as far as the service lists them; where it cannot be asked, another time.
    func deleteGivenUpUploads() async {
        let begun = self.uploader.begun
        await begun.waitUntilEnded()
        await begun.deletion.alone {
            let givenUp = self.withoutWanted(begun.idle)
            for (directory, uploads) in Dictionary(grouping: givenUp, by: \.path.parent) {
                // That cannot be done now is no reason to tell anybody.
                try? await self.delete(uploads, in: directory)
            }
        }
    }

    /// Deletes what is there of uploads in one directory.
    private func delete(_ uploads: [ListedUpload], in directory: RemotePath) async throws(RemoteError) {
        var listed: Set<FileName>?
        for upload in uploads {
            do throws(RemoteError) {
                // A long listing is worth it only where there is something to delete.
                if listed == nil, self.namespace.nameCount(of: upload.directory) > Self.longListing {
                    _ = try await self.remote.size(of: upload.path, urgency: .ahead())
                }
                if listed == nil {
                    let entries = try await self.remote.list(directory, urgency: .ahead()).entries
                    listed = Set(entries.lazy.filter { $0.kind == .file }.map(\.name))
                }
            } catch .notFound {
                // This proves too little to forget it: it stays hidden, and the next mount looks for it.
                self.uploader.begun.remove(upload.id)
                continue
            }
            await self.delete(upload, ifIn: listed ?? [])
        }
    }

    /// Uploads but for those that another attempt, or the next mount, may go on with, and those of files of which an
    /// upload may be there without anybody's having heard of it.
    private func withoutWanted(_ uploads: [ListedUpload]) -> [ListedUpload] {
        guard !uploads.isEmpty else { return [] }
        let contents = self.contents.withLock { Array($0.values) }
        let known = contents.flatMap { $0.waiting.map(\.upload) + [$0.progress.resumable] }
        let wanted = Set(known.compactMap(\.self))
        let inDoubt = Set(
            contents.filter { content in content.state.withLock { $0.sizeInDoubt != nil } }
                .compactMap { self.namespace.path(of: $0.inode) }
        )
        return uploads.filter { !wanted.contains($0.id) && !inDoubt.contains($0.file) }
    }

    private func delete(_ upload: ListedUpload, ifIn listed: Set<FileName>) async {
        await self.names.withLocks([NameKey(parent: upload.directory, name: upload.name)]) {
            if self.namespace.known(upload.name, in: upload.directory) != nil {
                // Somebody made a file of that name here.
                self.namespace.unhide(upload.name, in: upload.directory)
                self.staging.journal.removeUpload(upload.id)
            } else if listed.contains(upload.name) {
                await self.delete([upload])
            } else {
                self.forget(upload)
            }
        }
        // What could not be deleted the next mount deletes.
        self.uploader.begun.remove(upload.id)
    }
}
