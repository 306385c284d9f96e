import ArgumentParser
import RemoteAPI
import Transfers
import WireFormat

/// `tetherfs ls`.
struct ListFilesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "Lists files of a filesystem, without mounting it.",
        usage: "tetherfs ls [-lR] [--human] [-0 | --json] <NAME:/path> ... [<options>]",
        discussion: """
            One name a line. On a terminal '?' stands for characters that could upset it.

            Examples:
              tetherfs ls data:/
              tetherfs ls -l data:/photos data:/notes.txt
              tetherfs ls -lR --json data:/ | jq '.[] | select(.size > 1000000) | .path'
            """
    )

    @OptionGroup
    var format: ListFormat

    @Flag(name: [.customShort("R"), .customLong("recursive")], help: "List the directories below too.")
    var recursive = false

    @OptionGroup
    var places: PlaceArguments

    func run() throws {
        let (format, recursive) = (self.format, self.recursive)
        try self.places.run { run, places in
            var listing = ListingPrinter(format, run, headers: recursive || places.count > 1)
            var directories: [RemoteLocation] = []
            var files: [RemoteLocation] = []
            for place in places {
                do throws(RemoteError) {
                    switch try await run.remote(place).kind(of: place.path) {
                    case .directory: directories.append(place)
                    case .file: files.append(place)
                    case nil: throw .notFound
                    }
                } catch {
                    run.fail(place, error)
                }
            }
            try await listing.print(files: files)
            for place in directories { try await listing.print(directory: place, recursive: recursive) }
            try listing.finish()
        }
    }
}

/// How `tetherfs ls` prints.
struct ListFormat: ParsableArguments {
    @Flag(
        name: [.customShort("l"), .customLong("long")],
        help: "Kind and size too; a request for each file."
    )
    var long = false

    @OptionGroup
    var output: OutputFormat
}
