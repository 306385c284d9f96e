import Hummingbird
import WireFormat

extension Routes {
    /// `GET /filesystems/<id>/list/<path>`
    func list(_ path: RemotePath, in id: FilesystemID, for user: User) async throws -> Reply {
        try await self.access(to: id, for: user)
        let (json, skippedCount) = try await self.disk.run {
            let listing = try self.folders.list(path, in: id)
            return (listing.json, listing.skippedCount)
        }
        if skippedCount > 0 {
            self.logger.warning(
                "names that are not UTF-8 are left out of a listing",
                metadata: ["filesystem": "\(id)", "path": "\(path)", "count": "\(skippedCount)"]
            )
        }
        if json.readableBytes <= PacedBody.pieceByteCount { return .json(json) }
        let share = try self.answerMemory.take(json.readableBytes, for: user.id)
        return .paced(PacedBody(json, share), contentType: "application/json")
    }

    /// `POST /filesystems/<id>/mkdir/<path>`
    func makeDirectory(_ path: RemotePath, in id: FilesystemID, for user: User) async throws -> Reply {
        try await self.access(to: id, for: user)
        try await self.synchronizing.run { try self.folders.makeDirectory(path, in: id) }
        return .empty
    }

    /// `DELETE /filesystems/<id>/files/<path>`: of a file, or of a directory with all that is in it.
    func delete(_ path: RemotePath, in id: FilesystemID, for user: User) async throws -> Reply {
        try await self.access(to: id, for: user)
        guard !path.isRoot else { throw ServerError.forbidden("the root directory stays") }
        if try await self.disk.run({ try self.folders.delete(path, in: id) }) { self.removal.start() }
        return .empty
    }
}
