import Hummingbird
import WireFormat

extension Routes {
    /// `GET /filesystems/<id>/files/<path>?init=true`
    func info(_ path: RemotePath, in id: FilesystemID, for user: User) async throws -> Reply {
        try await self.access(to: id, for: user)
        let size = try await self.disk.run { try self.folders.openFile(path, in: id).size }
        return try self.json(FileInfoBody(size: size, downloadID: RandomName.make()))
    }

    /// `GET /filesystems/<id>/files/<path>`
    func read(_ path: RemotePath, in id: FilesystemID, _ request: Request, for user: User) async throws
        -> Reply
    {
        try await self.access(to: id, for: user)
        guard let header = request.headers[.contentRange] else {
            throw ServerError.badRequest("the Content-Range header is missing")
        }
        guard let asked = ContentRange.parseDownload(header) else {
            throw ServerError.badRequest("the Content-Range header is not START-END")
        }
        return try await self.disk.run {
            let file = try self.folders.openFile(path, in: id)
            let range = asked.clamped(to: 0..<file.size)
            if range.isEmpty { return .empty }
            // Small reads are done while we are here: no further change of thread.
            if range.count <= PacedBody.pieceByteCount {
                return .bytes(try FileStream.read(range.count, at: range.lowerBound, of: file.descriptor))
            }
            let stream = FileStream(file: file.descriptor, range: range, disk: self.disk)
            return .paced(stream.body, contentType: "application/octet-stream")
        }
    }

    /// `POST /filesystems/<id>/files/<path>`
    func beginOrFinishUpload(
        _ path: RemotePath,
        in id: FilesystemID,
        _ request: Request,
        for user: User
    ) async throws -> Reply {
        try await self.access(to: id, for: user)
        switch try await self.body(UploadRequestBody.self, of: request) {
        case .begin(let size):
            let owner = try await self.catalogue.snapshot().filesystems[id]?.owner ?? user.id
            let upload = try await self.disk.run {
                try self.uploads.begin(path, size: size, in: id, of: owner)
            }
            return try self.json(UploadStartedBody(uploadID: upload.rawValue))
        case .finish(let text, let complete):
            guard let upload = UploadID(text) else { throw UploadError.unknown }
            if complete {
                try await self.uploads.complete(upload, of: path, in: id, on: self.synchronizing)
            } else {
                try await self.uploads.abandon(self.uploads.upload(upload, of: path, in: id), on: self.disk)
            }
            return .empty
        }
    }

    /// `PUT /filesystems/<id>/files/<path>`
    func writePart(
        _ path: RemotePath,
        in id: FilesystemID,
        _ request: Request,
        for user: User
    ) async throws -> Reply {
        try await self.access(to: id, for: user)
        guard let header = request.headers[.contentRange] else {
            throw ServerError.badRequest("the Content-Range header is missing")
        }
        guard let (uploadID, range) = ContentRange.parsePart(header) else {
            throw ServerError.badRequest("the Content-Range header is not [UPLOADID]:START-END")
        }
        let upload = try self.uploads.upload(uploadID, of: path, in: id)
        guard range.upperBound <= upload.size else { throw UploadError.outsideFile(size: upload.size) }
        // Told at once what the body's end would tell.
        if let length = request.headers[.contentLength], UInt64(length) != UInt64(range.count) {
            throw UploadError.lengthMismatch(expected: UInt64(range.count))
        }
        try await PartWriter(store: self.uploads, upload: upload, range: range, disk: self.writing)
            .write(request.body)
        return .empty
    }
}
