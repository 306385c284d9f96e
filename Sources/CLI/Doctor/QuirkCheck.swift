import RemoteAPI
import WireFormat

/// What a server is known to do otherwise than another, as far as reading shows it (docs/wire-protocol.md). The driver
/// copes with each; a person who reads a log wants to know them.
struct QuirkCheck {
    /// The service.
    let connection: ServiceConnection
    /// Whether it gives its requests ids.
    let hasRequestIDs: Bool

    private static let check = "server"

    /// All that was found; nothing is changed on the server.
    var findings: [Finding] {
        var quirks: [String] = []
        do throws(UserError) {
            // Whichever comes first.
            let filesystem = try self.connection.filesystems().first
            guard let filesystem, let absent = Self.absentPath() else {
                return [.ok(Self.check, "not looked at: there is no filesystem")]
            }
            let files = self.connection.client.filesystem(try filesystem.checkedID)
            if Self.isAnswered({ _ = try await files.list(absent) }) {
                quirks.append("lists a directory that does not exist as an empty one")
            }
            if Self.isAnswered({ _ = try await files.size(of: .root) }) {
                quirks.append("tells a size of directories")
            }
        } catch {
            return [.warning(Self.check, error.description)]
        }
        quirks.append(self.hasRequestIDs ? "gives requests ids" : "gives requests no ids")
        return [.ok(Self.check, quirks.joined(separator: "; "))]
    }

    private static func absentPath() -> RemotePath? {
        let number = UInt64.random(in: .min ... .max)
        return FileName("tetherfs-doctor-\(number)").map { RemotePath(components: [$0]) }
    }

    /// Whether a call that cannot succeed does.
    private static func isAnswered(_ call: @escaping @Sendable () async throws -> Void) -> Bool {
        (try? Blocking.run(call)) != nil
    }
}
