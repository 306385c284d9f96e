import Foundation
import Hummingbird
import Logging
import NIOCore
import WireFormat

/// The API's calls. Each takes who asks and what was sent, and gives the answer or throws why not.
struct Routes: Sendable {
    let catalogue: Catalogue
    let folders: FolderStore
    let uploads: UploadStore
    let removal: BackgroundRemoval
    /// For all other calls.
    let disk: DiskPool
    /// For bytes of parts.
    let writing: DiskPool
    /// For calls that end when what they did is on the disk.
    let synchronizing: DiskPool
    let answerMemory = AnswerMemory()
    let logger: Logger

    /// No body of the API's JSON calls comes near; a part's body is not one of them.
    private static let maximumBodyByteCount = 64 * 1024

    /// The user whose key it is.
    func user(with key: APIKey) async throws -> User? {
        if let user = try await self.catalogue.snapshot().user(with: key) { return user }
        // It may have been added this moment, by the command beside us.
        return try await self.catalogue.snapshot(.checked).user(with: key)
    }

    /// Refuses who may not use the filesystem at all: for them it does not exist.
    @discardableResult
    func access(to id: FilesystemID, for user: User) async throws -> CatalogueSnapshot.Access {
        if let access = try await self.catalogue.snapshot().access(of: user, to: id) { return access }
        throw CatalogueError.noSuchFilesystem
    }

    /// Refuses who does not own the filesystem.
    func requireOwner(of id: FilesystemID, _ user: User) async throws {
        switch try await self.access(to: id, for: user) {
        case .owner: return
        case .grantee: throw ServerError.forbidden("only the filesystem's owner may do that")
        }
    }

    /// Reads a JSON body, whatever its Content-Type: the official client sends none.
    func body<Body: Decodable>(_: Body.Type, of request: Request) async throws -> Body {
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: Self.maximumBodyByteCount)
        } catch is NIOTooManyBytesError {
            throw ServerError(status: .contentTooLarge, message: "the body is longer than 64 KiB")
        } catch {
            throw PartWriter.Interrupted(cause: error)
        }
        do {
            return try JSONDecoder().decode(Body.self, from: Data(buffer.readableBytesView))
        } catch {
            throw ServerError.badRequest("the body is not the JSON that this call takes")
        }
    }

    /// Writes a JSON body.
    func json(_ body: some Encodable) throws -> Reply {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        return .json(ByteBuffer(bytes: try encoder.encode(body)))
    }
}
