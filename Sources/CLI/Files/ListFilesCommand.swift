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

    @Argument(
        help: ArgumentHelp("Files or directories.", valueName: "NAME:/path"),
        completion: CommandCompletion.places
    )
    var places: [String]

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    func run() throws {
        let places = try self.places.map(RemoteLocation.required)
        let run = try self.connection.open(places)
        let (format, recursive) = (self.format, self.recursive)
        try run.wait {
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
        try run.finish()
    }
}

/// How `tetherfs ls` prints.
struct ListFormat: ParsableArguments {
    @Flag(
        name: [.customShort("l"), .customLong("long")],
        help: "Kind and size too; a request for each file."
    )
    var long = false

    @Flag(name: [.customLong("human")], help: "Sizes such as 1.2M.")
    var human = false

    @Flag(
        name: [.customShort("0"), .customLong("zero")],
        help: "End each line with a NUL, names as they are."
    )
    var zero = false

    @Flag(help: "Print a JSON array, with sizes if -l is given.")
    var json = false

    func validate() throws {
        if self.json, self.zero { throw ValidationError("--json and -0 exclude each other") }
    }
}
