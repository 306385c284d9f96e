import ArgumentParser

/// `tetherfs list`.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the mounts of this machine.",
        usage: "tetherfs list [--json]",
        discussion: """
            STATE is answers, or: server-silent (the driver answers, its server does not),
            key-refused, dead (the driver is gone), silent (the driver hangs or is stopped),
            unknown (it cannot be asked; status says why).
            PENDING is what is not uploaded yet. Of other users' mounts only root sees more.

            Examples:
              tetherfs list
              tetherfs list --json
            """
    )

    @Flag(help: "Print a JSON array.")
    var json = false

    func run() throws {
        let inquiries = try MountInquiry.all(.current)
        let listings = zip(inquiries, MountInquiry.ask(inquiries)).map { MountListing($0.mount, $1) }
        if self.json { return Terminal.print(try FilesystemTable.json(listings)) }
        guard !listings.isEmpty else { return Terminal.note("nothing is mounted") }
        TextTable(titles: MountListing.titles, rows: listings.map(\.cells)).lines(width: Terminal.width)
            .forEach { Terminal.print($0) }
    }
}
