import Hummingbird
import WireFormat

/// What a request's target names: one of the API's routes, and the ids and paths in it.
///
/// The raw target is taken apart here and not by Hummingbird's router: it is split at literal slashes first and
/// each component is decoded once after that, so no encoding can make a separator, a `..` or a NUL.
struct RequestTarget: Equatable, Sendable {
    /// What is named.
    let route: Route
    /// Whether the query has `init`, with any value or none (wire-protocol.md, Download 1).
    let asksForInfo: Bool

    /// The routes of the API.
    enum Route: Equatable, Sendable {
        case filesystems
        case filesystem(FilesystemID)
        case share(FilesystemID)
        case list(FilesystemID, RemotePath)
        case makeDirectory(FilesystemID, RemotePath)
        case file(FilesystemID, RemotePath)
    }

    /// Reads the target of a request line.
    ///
    /// - Parameters:
    ///   - raw: Path and query as they were sent; a scheme and host before them count for nothing.
    ///   - basePath: What every route starts with: empty, or with a slash at its start and none at its end.
    /// - Throws: 404 for what is no call of the API, 403 and 400 for paths as docs/server.md says.
    init(_ raw: String, basePath: String) throws(ServerError) {
        let (path, query) = Self.split(Self.withoutAuthority(raw[...]))
        self.asksForInfo = query.split(separator: "&").contains { parameter in
            parameter == "init" || parameter.hasPrefix("init=")
        }
        guard path.utf8.starts(with: basePath.utf8) else { throw Self.unknown }
        let rest = path.utf8.dropFirst(basePath.utf8.count)
        guard rest.first == UInt8(ascii: "/") else { throw Self.unknown }
        let pieces = rest.split(separator: UInt8(ascii: "/")).map { Substring($0) }
        guard pieces.first == "filesystems" else { throw Self.unknown }
        if pieces.count == 1 {
            self.route = .filesystems
            return
        }
        guard let id = FilesystemID(String(pieces[1])) else { throw .notFound("no such filesystem") }
        if pieces.count == 2 {
            self.route = .filesystem(id)
            return
        }
        switch pieces[2] {
        case "share" where pieces.count == 3: self.route = .share(id)
        case "list": self.route = .list(id, try Self.path(pieces[3...]))
        case "mkdir": self.route = .makeDirectory(id, try Self.path(pieces[3...]))
        case "files": self.route = .file(id, try Self.path(pieces[3...]))
        default: throw Self.unknown
        }
    }

    private static let unknown = ServerError.notFound("the API has no such call")

    /// RFC 9112, 3.2.2: a server must take the form with scheme and host too.
    private static func withoutAuthority(_ raw: Substring) -> Substring {
        for scheme in ["http://", "https://"] where raw.lowercased().hasPrefix(scheme) {
            let rest = raw.dropFirst(scheme.count)
            return rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        return raw
    }

    private static func split(_ raw: Substring) -> (path: Substring, query: Substring) {
        guard let mark = raw.utf8.firstIndex(of: UInt8(ascii: "?")) else { return (raw, "") }
        return (raw[..<mark], raw[raw.utf8.index(after: mark)...])
    }

    private static func path(_ pieces: ArraySlice<Substring>) throws(ServerError) -> RemotePath {
        var names: [FileName] = []
        names.reserveCapacity(pieces.count)
        for piece in pieces { names.append(try Self.name(piece)) }
        return RemotePath(components: names)
    }

    private static func name(_ piece: Substring) throws(ServerError) -> FileName {
        guard let bytes = PercentEncoding.decode(piece) else {
            throw .badRequest("the path has a % that encodes nothing")
        }
        if bytes == [UInt8(ascii: ".")] || bytes == [UInt8(ascii: "."), UInt8(ascii: ".")] {
            throw .forbidden("the path may not have . or .. in it")
        }
        if bytes.contains(0) { throw .badRequest("the path has a NUL in it") }
        if bytes.contains(UInt8(ascii: "/")) { throw .badRequest("the path has an encoded slash in it") }
        if bytes.count > FileName.maximumByteCount {
            throw .badRequest("a name in the path is longer than \(FileName.maximumByteCount) bytes")
        }
        guard let name = FileName(bytes: bytes) else { throw .badRequest("the path is not UTF-8") }
        return name
    }
}
