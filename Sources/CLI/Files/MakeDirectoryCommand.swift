import ArgumentParser
import RemoteAPI
import Transfers

/// `tetherfs mkdir`.
struct MakeDirectoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mkdir",
        abstract: "Makes directories on a filesystem, without mounting it.",
        usage: "tetherfs mkdir [-p] <NAME:/path> ... [<options>]",
        discussion: """
            Examples:
              tetherfs mkdir data:/photos
              tetherfs mkdir -p data:/photos/2024/june
            """
    )

    @Flag(
        name: [.customShort("p"), .customLong("parents")],
        help: "Make those above too; what is there already is no error."
    )
    var parents = false

    @OptionGroup
    var places: PlaceArguments

    func run() throws {
        let parents = self.parents
        try self.places.run { run, places in
            for place in places {
                do throws(RemoteError) {
                    let remote = run.remote(place)
                    try await parents
                        ? remote.makeDirectoryWithParents(place.path) : remote.makeDirectory(place.path)
                } catch {
                    run.fail(place.shown, Self.words(error, parents) ?? run.words(error))
                }
            }
        }
    }

    private static func words(_ error: RemoteError, _ parents: Bool) -> String? {
        switch error {
        case .changedKind: "it, or a directory above it, is a file"
        // wire-protocol.md, Directories.
        case .rejected(status: 400, _) where !parents: "the directory above it is missing; -p makes it too"
        default: nil
        }
    }
}
