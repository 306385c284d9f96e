import Foundation
import Hummingbird
import WireFormat

extension Routes {
    /// `GET /filesystems`
    func listFilesystems(for user: User) async throws -> Reply {
        try self.json(
            try await self.catalogue.snapshot().filesystems(visibleTo: user).map { filesystem in
                FilesystemBody(filesystemID: filesystem.id.rawValue, filesystemName: filesystem.name)
            }
        )
    }

    /// `POST /filesystems`
    func createFilesystem(_ request: Request, for user: User) async throws -> Reply {
        let name = try await self.body(CreateFilesystemBody.self, of: request).filesystemName
        // The names are for people: one line of text that any tool can show.
        guard (1...255).contains(name.utf8.count),
            !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            throw ServerError.badRequest("a filesystem's name has 1 to 255 bytes and no control characters")
        }
        guard let id = FilesystemID(UUID().uuidString.lowercased()) else {
            throw ServerError.badRequest("no id could be made")
        }
        // Folders first: a crash between the two leaves empty folders, which the next start removes.
        try await self.synchronizing.run { try self.folders.makeFilesystem(id) }
        do {
            try await self.catalogue.add(FilesystemRecord(id: id, owner: user.id, name: name))
        } catch {
            try? await self.synchronizing.run { try self.folders.takeAway(id) }
            self.removal.start()
            throw error
        }
        return try self.json(FilesystemBody(filesystemID: id.rawValue, filesystemName: name))
    }

    /// `DELETE /filesystems/<id>`
    func deleteFilesystem(_ id: FilesystemID, for user: User) async throws -> Reply {
        try await self.requireOwner(of: id, user)
        // Out of sight first: after a crash between the two the next start finishes it (`Recovery`).
        try await self.synchronizing.run { try self.folders.takeAway(id) }
        // Also where the disk is too full for the rest: it frees room, and who asks again then is done.
        defer { self.removal.start() }
        await self.uploads.forget(id)
        try await self.catalogue.removeFilesystem(id)
        return .empty
    }

    /// `POST /filesystems/<id>/share`
    func share(_ id: FilesystemID, _ request: Request, for user: User) async throws -> Reply {
        try await self.requireOwner(of: id, user)
        let text = try await self.body(ShareBody.self, of: request).grantee
        guard let grantee = UUID(uuidString: text)?.uuidString.lowercased() else {
            throw ServerError.badRequest("the grantee is not a user's id (a UUID)")
        }
        guard grantee != user.id else { throw ServerError.forbidden("it is yours already") }
        try await self.catalogue.share(id, with: grantee)
        return .empty
    }
}
