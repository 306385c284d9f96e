import ArgumentParser
import RemoteAPI

/// `tetherfs rm`.
struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Deletes files of a filesystem, without mounting it.",
        usage: "tetherfs rm [-r] [-f] <NAME:/path> ... [<options>]",
        discussion: """
            A directory is deleted with all that is in it, by one request.

            Examples:
              tetherfs rm data:/notes.txt data:/old.txt
              tetherfs rm -r data:/build
            """
    )

    @Flag(name: [.customShort("r"), .customLong("recursive")], help: "Delete directories too.")
    var recursive = false

    @Flag(name: [.customShort("f"), .customLong("force")], help: "What is not there is no error.")
    var force = false

    @Argument(
        help: ArgumentHelp("What to delete.", valueName: "NAME:/path"),
        completion: CommandCompletion.places
    )
    var places: [String]

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    func run() throws {
        let places = try self.places.map(RemoteLocation.required)
        for place in places where place.path.isRoot {
            throw UserError(
                "\(place.shown) is the whole filesystem; to delete it: tetherfs filesystems delete "
                    + Printable.word(place.filesystem)
            )
        }
        let run = try self.connection.open(places)
        let (recursive, force) = (self.recursive, self.force)
        try run.wait {
            for place in places {
                do throws(RemoteError) {
                    try await Self.delete(place, run, recursive: recursive)
                } catch {
                    if error != .notFound || !force { run.fail(place, error) }
                }
            }
        }
        try run.finish()
    }

    private static func delete(
        _ place: RemoteLocation,
        _ run: FileCommandRun,
        recursive: Bool
    ) async throws(RemoteError) {
        let remote = run.remote(place)
        switch try await remote.kind(of: place.path) {
        case .file: try await remote.delete(place.path, kind: .file)
        case .directory where recursive: try await remote.deleteTree(place.path)
        case .directory: run.fail(place.shown, "it is a directory; -r deletes it with all that is in it")
        case nil: throw .notFound
        }
    }
}
