import ArgumentParser

/// `tetherfs filesystems`.
struct FilesystemsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filesystems",
        abstract: "Lists, creates, deletes and shares filesystems.",
        discussion: """
            Examples:
              tetherfs filesystems list
              tetherfs filesystems create data
            """,
        subcommands: [List.self, Create.self, Delete.self, Share.self]
    )

    /// `tetherfs filesystems list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists those you own and those shared with you.",
            usage: "tetherfs filesystems list [--json] [<connection options>]",
            discussion: """
                Examples:
                  tetherfs filesystems list
                  tetherfs filesystems list --json --profile work
                """
        )

        @Flag(help: "Print a JSON array.")
        var json = false

        @OptionGroup(title: "Connection")
        var connection: ConnectionOptions

        func run() throws {
            let filesystems = try self.connection.connect().filesystems().sorted {
                ($0.filesystemName, $0.filesystemID) < ($1.filesystemName, $1.filesystemID)
            }
            if self.json { return Terminal.print(try FilesystemTable.json(filesystems)) }
            if filesystems.isEmpty {
                Terminal.note("no filesystems; make one with: tetherfs filesystems create NAME")
            }
            FilesystemTable.lines(filesystems).forEach { Terminal.print($0) }
        }
    }

    /// `tetherfs filesystems create`.
    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Creates a filesystem.",
            usage: "tetherfs filesystems create <name> [--json] [<connection options>]",
            discussion: """
                Example:
                  tetherfs filesystems create data && tetherfs mount data ~/data
                """
        )

        @Argument(help: "Its name.")
        var name: String

        @Flag(help: "Print a JSON object.")
        var json = false

        @OptionGroup(title: "Connection")
        var connection: ConnectionOptions

        func run() throws {
            guard !self.name.isEmpty else { throw UserError("NAME is empty") }
            let connection = try self.connection.connect()
            let (client, name) = (connection.client, self.name)
            let conflict = "there is a filesystem '\(Printable.text(name))' already"
            let filesystem = try connection.call(conflict: conflict) {
                try await client.createFilesystem(named: name)
            }
            let line = FilesystemTable.line(filesystem)
            Terminal.print(self.json ? try FilesystemTable.json(filesystem) : line)
        }
    }

    /// `tetherfs filesystems delete`.
    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deletes a filesystem with all that is in it.",
            usage: "tetherfs filesystems delete <name> [--yes] [<connection options>]",
            discussion: """
                Examples:
                  tetherfs filesystems delete data          asks for the name again
                  tetherfs filesystems delete data --yes
                """
        )

        @Argument(help: "Its name or id.", completion: CommandCompletion.filesystems)
        var name: String

        @Flag(help: "Do not ask for the name again.")
        var yes = false

        @OptionGroup(title: "Connection")
        var connection: ConnectionOptions

        func run() throws {
            guard self.yes || Terminal.canAsk else {
                throw UserError("delete asks for the name again, and there is no terminal: give --yes")
            }
            let connection = try self.connection.connect()
            let filesystem = try connection.filesystem(self.name)
            let id = try filesystem.checkedID
            let shown = Printable.text(filesystem.filesystemName)
            if !self.yes {
                let question =
                    "This deletes '\(shown)' (\(id)) and every file in it.\nIts name again, to go on: "
                guard Terminal.ask(question) == filesystem.filesystemName else {
                    throw UserError("that is not its name: nothing was deleted")
                }
            }
            let client = connection.client
            try connection.call { try await client.deleteFilesystem(id) }
            Terminal.note("deleted '\(shown)' (\(id))")
        }
    }

    /// `tetherfs filesystems share`.
    struct Share: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets another user use a filesystem.",
            usage: "tetherfs filesystems share <name> --with <user-id> [<connection options>]",
            discussion: """
                Example:
                  tetherfs filesystems share data --with 0b8e7c52-9a1f-4c3d-8e6f-12a4b7c9d0e1
                """
        )

        @Argument(help: "Its name or id.", completion: CommandCompletion.filesystems)
        var name: String

        @Option(help: ArgumentHelp("The other user's id, a UUID.", valueName: "user-id"))
        var with: String

        @OptionGroup(title: "Connection")
        var connection: ConnectionOptions

        func run() throws {
            guard !self.with.isEmpty else { throw UserError("--with needs the other user's id") }
            let connection = try self.connection.connect()
            let filesystem = try connection.filesystem(self.name)
            let id = try filesystem.checkedID
            let (client, grantee) = (connection.client, self.with)
            let shown =
                "'\(Printable.text(filesystem.filesystemName))' (\(id)) with \(Printable.text(grantee))"
            try connection.call(conflict: "it is shared already: \(shown)") {
                try await client.shareFilesystem(id, with: grantee)
            }
            Terminal.note("shared \(shown)")
        }
    }
}
