import ArgumentParser

/// The command `tetherfs-server`.
@main
struct ServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tetherfs-server",
        abstract: "Serves filesystems over the Filesystems API."
    )
}
