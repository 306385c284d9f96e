import ArgumentParser

/// `tetherfs status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Says what a mount has still to upload, and what went wrong.",
        usage: "tetherfs status <mountpoint> [--json]"
    )

    @Argument(help: "Where it is mounted.")
    var mountpoint: String

    @Flag(help: "Print a JSON object.")
    var json = false

    func run() throws {
        let reply = try MountedDriver(self.mountpoint, environment: .current).ask(
            .status,
            for: "ask about it"
        )
        guard let status = reply.status else {
            throw UserError("the driver of \(Printable.text(self.mountpoint)) is of another version")
        }
        if self.json { return Terminal.print(try FilesystemTable.json(status)) }
        status.lines.forEach { Terminal.print(Printable.text($0)) }
    }
}
