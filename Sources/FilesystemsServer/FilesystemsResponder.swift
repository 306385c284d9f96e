import Hummingbird
import Logging
import NIOCore

/// Answers requests: who asks, what for, and which answer or error that makes.
struct FilesystemsResponder: HTTPResponder {
    typealias Context = ConnectionContext

    let routes: Routes
    /// See ``RequestTarget``.
    let basePath: String
    let accessLog: AccessLog
    /// How long a client may take nothing of what it asked for.
    let patience: TimeAmount
    let logger: Logger

    func respond(to request: Request, context: Context) async throws -> Response {
        let reply: Reply
        do {
            reply = try await self.reply(to: request)
        } catch let interrupted as PartWriter.Interrupted {
            // Nobody hears an answer; the connection's own code ends it.
            self.accessLog.record(request, status: .badRequest, byteCount: 0)
            throw interrupted.cause
        } catch {
            reply = self.reply(to: request, failedWith: error)
        }
        return self.response(of: reply, to: request, context)
    }

    private func reply(to request: Request) async throws -> Reply {
        guard let header = request.headers[.authorization] else {
            throw ServerError(status: .unauthorized, message: "the Authorization header is missing")
        }
        guard let key = APIKey(authorization: header), let user = try await self.routes.user(with: key) else {
            throw ServerError(status: .unauthorized, message: "the API key is not known")
        }
        let target = try RequestTarget(request.head.path ?? "", basePath: self.basePath)
        switch (target.route, request.method) {
        case (.filesystems, .get): return try await self.routes.listFilesystems(for: user)
        case (.filesystems, .post): return try await self.routes.createFilesystem(request, for: user)
        case (.filesystem(let id), .delete): return try await self.routes.deleteFilesystem(id, for: user)
        case (.share(let id), .post): return try await self.routes.share(id, request, for: user)
        case (.list(let id, let path), .get): return try await self.routes.list(path, in: id, for: user)
        case (.makeDirectory(let id, let path), .post):
            return try await self.routes.makeDirectory(path, in: id, for: user)
        case (.file(let id, let path), .get) where target.asksForInfo:
            return try await self.routes.info(path, in: id, for: user)
        case (.file(let id, let path), .get):
            return try await self.routes.read(path, in: id, request, for: user)
        case (.file(let id, let path), .post):
            return try await self.routes.beginOrFinishUpload(path, in: id, request, for: user)
        case (.file(let id, let path), .put):
            return try await self.routes.writePart(path, in: id, request, for: user)
        case (.file(let id, let path), .delete): return try await self.routes.delete(path, in: id, for: user)
        default:
            throw ServerError(status: .methodNotAllowed, message: "the API has no \(request.method) here")
        }
    }

    private func reply(to request: Request, failedWith error: any Error) -> Reply {
        let refusal: ServerError
        switch error {
        case let error as ServerError: refusal = error
        case let error as UploadError: refusal = ServerError(error)
        case let error as CatalogueError: refusal = ServerError(error)
        case let error as FolderError: refusal = ServerError(error) ?? self.unknown(error, request)
        default: refusal = self.unknown(error, request)
        }
        return .text(refusal.status, refusal.message)
    }

    /// An error that is nobody's mistake but ours or the machine's: the caller gets a number to ask about.
    private func unknown(_ error: any Error, _ request: Request) -> ServerError {
        let id = String(RandomName.make().prefix(8))
        self.logger.error(
            "request failed",
            metadata: [
                "id": "\(id)", "method": "\(request.method)", "target": "\(request.head.path ?? "")",
                "cause": "\(error)",
            ]
        )
        return ServerError(status: .internalServerError, message: "internal error \(id)")
    }

    private func response(of reply: Reply, to request: Request, _ context: Context) -> Response {
        switch reply {
        case .empty:
            self.accessLog.record(request, status: .ok, byteCount: 0)
            return Response(status: .ok, headers: Self.headers())
        case .json(let body):
            self.accessLog.record(request, status: .ok, byteCount: body.readableBytes)
            return Response(
                status: .ok,
                headers: Self.headers("application/json"),
                body: ResponseBody(byteBuffer: body)
            )
        case .text(let status, let line):
            // An answer to HEAD has no body, whatever its head says (RFC 9110, 9.3.2): the next one would begin there.
            let body = ByteBuffer(string: request.method == .head ? "" : line + "\n")
            self.accessLog.record(request, status: status, byteCount: body.readableBytes)
            return Response(
                status: status,
                headers: Self.headers("text/plain; charset=utf-8"),
                body: ResponseBody(byteBuffer: body)
            )
        case .bytes(let body):
            self.accessLog.record(request, status: .ok, byteCount: body.readableBytes)
            return Response(
                status: .ok,
                headers: Self.headers("application/octet-stream"),
                body: ResponseBody(byteBuffer: body)
            )
        case .paced(let body, let contentType):
            let body = ResponseBody(contentLength: body.byteCount) { writer in
                try await body.send(to: &writer, on: context.channel, patience: self.patience) { byteCount in
                    self.accessLog.record(request, status: .ok, byteCount: byteCount)
                }
            }
            return Response(status: .ok, headers: Self.headers(contentType), body: body)
        }
    }

    /// The headers of every answer. A cache on the way would know it by its URL, which is the same for every range of a
    /// file: it must not keep any.
    private static func headers(_ contentType: String? = nil) -> HTTPFields {
        var headers: HTTPFields = [.cacheControl: "no-store"]
        headers[.contentType] = contentType
        return headers
    }
}
