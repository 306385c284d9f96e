import ArgumentParser
import Staging
import SystemPackage

/// `tetherfs recover`.
struct RecoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Gives back bytes that could not be uploaded.",
        discussion: """
            Works beside mounts, and without the server.

            Examples:
              tetherfs recover list
              tetherfs recover restore 1883092101693440 todo.txt
              tetherfs recover discard 1883092101693440
            """,
        subcommands: [List.self, Restore.self, Discard.self]
    )

    /// `tetherfs recover list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the files that are kept, and those that wait to be uploaded.",
            usage: "tetherfs recover list [<filesystem> ...] [--json] [<options>]",
            discussion: """
                Examples:
                  tetherfs recover list
                  tetherfs recover list --cache-dir /data/cache --json
                """
        )

        @Argument(help: "Ids of filesystems, or their cache directories; without any all of them.")
        var filesystem: [String] = []

        @OptionGroup
        var cache: CacheOption

        @Flag(help: "Print a JSON array.")
        var json = false

        func run() throws {
            let files = try self.cache.files(of: self.filesystem)
            if self.json { return Terminal.print(try FilesystemTable.json(files.map(RecoverableLine.init))) }
            if files.isEmpty { Terminal.note("nothing to recover") }
            var filesystem: String?
            let owners = Dictionary(grouping: files, by: \.number).mapValues { Set($0.map(\.filesystem)) }
            for file in files {
                if file.filesystem.rawValue != filesystem {
                    Terminal.print("filesystem \(file.filesystem):")
                    filesystem = file.filesystem.rawValue
                }
                let isAmbiguous = owners[file.number].map { $0.count > 1 } ?? false
                RecoverableLine(file).text(isAmbiguous: isAmbiguous).forEach { Terminal.print($0) }
            }
        }
    }

    /// `tetherfs recover restore`.
    struct Restore: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a file's content to a new local file; it stays in the list.",
            usage: "tetherfs recover restore <number> <file> [--base <file> | --partial]",
            discussion: """
                Examples, with a number of tetherfs recover list:
                  tetherfs recover restore 1883092101693440 todo.txt
                  tetherfs recover restore 1883092101693440 a.db --base ~/data/a.db
                """
        )

        @Argument(help: "Its number in the list.")
        var number: UInt64

        @Argument(help: "The local file to make.")
        var file: String

        @Option(
            help: ArgumentHelp(
                "Take what is not here from this copy of what the server has.",
                valueName: "file"
            )
        )
        var base: String?

        @Flag(help: "Leave zeros where bytes are not here.")
        var partial = false

        @OptionGroup
        var choice: RecoverableChoice

        func run() throws {
            guard self.base == nil || !self.partial else {
                throw UserError("give --base or --partial, not both")
            }
            let found = try self.choice.file(self.number)
            guard found.standing != .open else {
                throw UserError(
                    "\(Printable.text(found.path)) is being written through a mount: copy it from there"
                )
            }
            let target = FilePath.absolute(self.file)
            let missing: RecoverableFile.Missing =
                self.base.map { .from(.init(FilePath.absolute($0))) } ?? (self.partial ? .zeros : .refused)
            do throws(RecoverableFile.RestoreError) {
                try found.restore(to: .init(target), missing)
            } catch {
                throw UserError(RecoverableLine(found).explanation(of: error))
            }
            let size = "\(found.content.size) bytes"
            let zeros = found.content.size - found.localByteCount
            let remark =
                !self.partial || found.isWhole
                ? ""
                : found.isKnown
                    ? ", of which \(zeros) are zeros in place of what is not here" : ", maybe with holes"
            Terminal.note("restored \(Printable.text(found.path)): \(size)\(remark)")
        }
    }

    /// `tetherfs recover discard`.
    struct Discard: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deletes a file that is kept, for ever.",
            usage: "tetherfs recover discard <number> [--yes]",
            discussion: """
                Example, with a number of tetherfs recover list:
                  tetherfs recover discard 1883092101693440
                """
        )

        @Argument(help: "Its number in the list.")
        var number: UInt64

        @Flag(help: "Do not ask.")
        var yes = false

        @OptionGroup
        var choice: RecoverableChoice

        func run() throws {
            guard self.yes || Terminal.canAsk else {
                throw UserError("discard asks, and there is no terminal: give --yes")
            }
            let found = try self.choice.file(self.number)
            let shown = Printable.text(found.path)
            guard found.standing == .kept || !found.isMounted else {
                throw UserError("\(shown) is not uploaded yet, by a mount that runs: unmount it first")
            }
            if !self.yes {
                let question =
                    "This deletes '\(shown)' (\(found.content.size) bytes), maybe the only copy.\nType yes to go on: "
                guard Terminal.ask(question) == "yes" else {
                    throw UserError("that is not yes: nothing was deleted")
                }
            }
            do throws(CacheDirectoryError) {
                try found.discard()
            } catch {
                throw UserError(Printable.text(error.description))
            }
            Terminal.note("discarded \(shown)")
        }
    }
}
