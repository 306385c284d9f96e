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

    @OptionGroup
    var places: PlaceArguments

    func run() throws {
        let (recursive, force) = (self.recursive, self.force)
        try self.places.run(check: Self.check) { run, places in
            for place in places {
                do throws(RemoteError) {
                    try await Self.delete(place, run, recursive: recursive)
                } catch {
                    if error != .notFound || !force { run.fail(place, error) }
                }
            }
        }
    }

    private static func check(_ place: RemoteLocation) throws {
        if place.path.isRoot {
            throw UserError(
                "\(place.shown) is the whole filesystem; to delete it: tetherfs filesystems delete "
                    + Printable.word(place.filesystem)
            )
        }
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
