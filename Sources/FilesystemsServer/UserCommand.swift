import ArgumentParser
import Foundation

/// `tetherfs-server user …`: works on the catalogue, also while a server serves it.
struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Manages who may use the server, also while it runs.",
        discussion: """
            Example:
              tetherfs-server user list --data-dir /srv/files
            """,
        subcommands: [Add.self, List.self, Remove.self, RotateKey.self]
    )

    /// What all of them take.
    struct Common: ParsableArguments {
        @Option(help: "The server's data directory.")
        var dataDir: String

        @Flag(help: "Print JSON.")
        var json = false
    }

    /// What those that set a key take.
    struct KeySource: ParsableArguments {
        @Option(help: ArgumentHelp("Use the key in this file instead of a new one.", valueName: "file"))
        var apiKeyFile: String?

        func key() throws -> APIKey {
            guard let apiKeyFile else { return APIKey() }
            guard let contents = FileManager.default.contents(atPath: apiKeyFile) else {
                throw ValidationError("cannot read \(apiKeyFile)")
            }
            let text = String(decoding: contents, as: UTF8.self)
            guard let key = APIKey(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
                throw ValidationError(
                    "\(apiKeyFile) does not hold a key of 16 to 512 visible ASCII characters"
                )
            }
            return key
        }
    }

    /// `tetherfs-server user add`
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a user and prints its id and API key, once.",
            usage: "tetherfs-server user add <name> --data-dir <dir> [<options>]",
            discussion: """
                Example:
                  tetherfs-server user add joe --data-dir /srv/files
                """
        )
        @Argument(help: "The user's name.") var name: String
        @OptionGroup var common: Common
        @OptionGroup var keySource: KeySource

        func run() async throws {
            guard (1...255).contains(self.name.utf8.count),
                !self.name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
            else { throw ValidationError("a user's name has 1 to 255 bytes and no control characters") }
            let key = try self.keySource.key()
            let catalogue = try DataDirectory(path: self.common.dataDir, create: true).openCatalogue()
            let user = User(id: UUID().uuidString.lowercased(), name: self.name)
            try await UserCommand.reporting { try await catalogue.add(user, key: key.hash) }
            try UserOutput.print(user, key: key, asJSON: self.common.json)
        }
    }

    /// `tetherfs-server user list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the users: ids and names.",
            discussion: """
                Example:
                  tetherfs-server user list --data-dir /srv/files --json
                """
        )
        @OptionGroup var common: Common

        func run() async throws {
            let catalogue = try DataDirectory(path: self.common.dataDir, create: false).openCatalogue()
            let users = try await catalogue.snapshot().users.values.sorted { $0.name < $1.name }
            try UserOutput.print(users, asJSON: self.common.json)
        }
    }

    /// `tetherfs-server user remove`
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a user; its key stops working.",
            usage: "tetherfs-server user remove <name> --data-dir <dir> [<options>]",
            discussion: """
                Example:
                  tetherfs-server user remove joe --data-dir /srv/files
                """
        )
        @Argument(help: "The user's name.") var name: String
        @Flag(help: "Delete the filesystems that the user owns, with all their files.")
        var deleteFilesystems = false
        @OptionGroup var common: Common

        func run() async throws {
            let directory = try DataDirectory(path: self.common.dataDir, create: false)
            let catalogue = try directory.openCatalogue()
            let snapshot = try await catalogue.snapshot()
            guard let user = snapshot.users.values.first(where: { $0.name == self.name }) else {
                throw ValidationError("there is no user \(self.name)")
            }
            let owned = snapshot.filesystems.values.filter { $0.owner == user.id }
            guard owned.isEmpty || self.deleteFilesystems else {
                let names = owned.map(\.name).sorted().joined(separator: ", ")
                throw ValidationError(
                    "\(self.name) owns filesystems (\(names)): delete them first, or pass --delete-filesystems"
                )
            }
            let folders = try FolderStore(directory)
            let remover = try TreeRemover(directory)
            do {
                for filesystem in owned {
                    try folders.takeAway(filesystem.id)
                    try await catalogue.removeFilesystem(filesystem.id)
                }
            } catch {
                // The disk may be too full for this: it frees room, and who tries again then succeeds.
                if let known = try? await catalogue.knownNames() { _ = remover.removeAll(leaving: known) }
                throw error
            }
            try await UserCommand.reporting { try await catalogue.removeUser(id: user.id) }
            if !owned.isEmpty { _ = remover.removeAll(leaving: try await catalogue.knownNames()) }
        }
    }

    /// `tetherfs-server user rotate-key`
    struct RotateKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rotate-key",
            abstract: "Gives a user a new API key and prints it, once; the old one stops working.",
            usage: "tetherfs-server user rotate-key <name> --data-dir <dir> [<options>]",
            discussion: """
                Example:
                  tetherfs-server user rotate-key joe --data-dir /srv/files
                """
        )
        @Argument(help: "The user's name.") var name: String
        @OptionGroup var common: Common
        @OptionGroup var keySource: KeySource

        func run() async throws {
            let key = try self.keySource.key()
            let catalogue = try DataDirectory(path: self.common.dataDir, create: false).openCatalogue()
            let user = try await UserCommand.reporting {
                try await catalogue.setKey(key.hash, ofUserNamed: self.name)
            }
            try UserOutput.print(user, key: key, asJSON: self.common.json)
        }
    }

    /// Turns what the catalogue refuses into words for the operator.
    private static func reporting<Result>(_ change: () async throws -> Result) async throws -> Result {
        do {
            return try await change()
        } catch let error as CatalogueError {
            throw ValidationError(ServerError(error).message)
        }
    }
}
