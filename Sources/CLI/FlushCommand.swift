import ArgumentParser

/// `tetherfs flush`.
struct FlushCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Waits until everything that was written is uploaded.",
        discussion: """
            Fails, saying why, if something cannot be uploaded; it is kept, and tried again.

            Example:
              tetherfs flush ~/data && ssh other-machine use-the-data
            """
    )

    @Argument(help: "Where it is mounted.", completion: CommandCompletion.mountPoints)
    var mountpoint: String

    func run() throws {
        let reply = try MountedDriver(self.mountpoint, environment: .current).ask(.drain, for: "flush it")
        guard reply.ok else {
            throw UserError(Printable.text(reply.message ?? "the driver gave no reason"))
        }
    }
}
