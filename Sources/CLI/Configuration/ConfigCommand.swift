import ArgumentParser

/// `tetherfs config`.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Shows settings and where they come from.",
        discussion: """
            Example:
              tetherfs config show
            """,
        subcommands: [Show.self]
    )

    /// `tetherfs config show`.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints each setting, its value, and where that comes from; of the key only its place.",
            usage: "tetherfs config show [--profile <name>] [--json] [<options of mount>]",
            discussion: """
                A value comes from a flag, an option of -o, a variable, a line of a
                configuration file, or is the default. Nothing is sent.

                Examples:
                  tetherfs config show
                  tetherfs config show --profile work --json
                """
        )

        @Flag(help: "Print a JSON object.")
        var json = false

        // The rest of mount's options too, to see what a whole command comes to.
        @OptionGroup(visibility: .hidden)
        var connection: ConnectionOptions

        @OptionGroup(visibility: .hidden)
        var flags: MountFlags

        func run() throws {
            let environment = Environment.current
            let layers = try self.flags.layers(self.connection, environment).layers
            let configuration = try MountConfiguration(
                unmounted: layers,
                environment: environment,
                needsKey: false
            )
            let table = SettingTable(configuration, layers)
            guard self.json else { return table.lines.forEach { Terminal.print($0) } }
            Terminal.print(try FilesystemTable.json(Dictionary(table.rows.map { ($0.name, $0) }) { $1 }))
        }
    }
}
