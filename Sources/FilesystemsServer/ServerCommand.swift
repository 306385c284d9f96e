import ArgumentParser

/// The command `tetherfs-server`.
@main
struct ServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tetherfs-server",
        abstract: "Serves filesystems over the Filesystems API.",
        discussion: """
            Examples:
              tetherfs-server user add joe --data-dir /srv/files
              tetherfs-server serve --data-dir /srv/files
            """,
        subcommands: [ServeCommand.self, UserCommand.self]
    )

    /// Runs the command; what goes wrong is one line on standard error and a status that is not 0.
    static func main() async {
        do {
            var command = try Self.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let code = Self.exitCode(for: error)
            // --help and the like are not errors.
            guard !code.isSuccess else { Self.exit(withError: error) }
            let lines = Self.message(for: error).split(whereSeparator: \.isNewline)
            StandardStreams.printError("tetherfs-server: " + lines.joined(separator: " "))
            Self.exit(withError: code)
        }
    }
}
