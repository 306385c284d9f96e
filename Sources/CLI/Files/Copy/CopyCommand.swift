import ArgumentParser
import Glibc
import RemoteAPI
import Synchronization
import WireFormat

/// `tetherfs cp`.
struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp",
        abstract: "Copies files to and from filesystems, without mounting them.",
        usage: "tetherfs cp [-r] [--resume] <source> ... <target> [<options>]",
        discussion: """
            NAME:/path is a place in a filesystem, all else is local. What goes to a
            directory goes into it; of dir/. and NAME:/ the content does. Files appear when
            they are whole.

            Examples:
              tetherfs cp notes.txt data:/
              tetherfs cp -r ~/Pictures data:/backup
              tetherfs cp -r --resume data:/results/. results
            """
    )

    @Flag(
        name: [.customShort("r"), .customLong("recursive")],
        help: "Copy directories with all that is in them."
    )
    var recursive = false

    @Flag(help: "Leave files that are there with the same size, and go on with halves of downloads.")
    var resume = false

    @Argument(
        help: ArgumentHelp("What to copy, and where to: the last one.", valueName: "source"),
        completion: CommandCompletion.placesAndFiles
    )
    var places: [String]

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    func validate() throws {
        if self.places.count < 2 { throw ValidationError("cp needs a source and a target") }
    }

    func run() throws {
        // Both before any other thread is there.
        let mask = umask(0)
        umask(mask)
        let signals = TerminationSignals()
        signals.handle { _exit(ExitStatus.interrupted.rawValue) }
        var arguments = try self.places.map(CopyArgument.init)
        let target = arguments.removeLast()
        // Before a key is asked for, or the server.
        try CopyPlan.check(arguments, target)
        let run = try self.connection.open(
            (arguments + [target]).compactMap {
                if case .remote(let location) = $0.place { location } else { nil }
            }
        )
        let copier = Copier(
            run,
            .init(isRecursive: self.recursive, isResuming: self.resume, newFileMode: 0o666 & ~mask)
        )
        let pairs = try Self.plan(arguments, target, copier)
        let isStopped = StopFlag()
        signals.handle {
            // Who asks twice does not want to wait.
            if isStopped.raise() { _exit(ExitStatus.interrupted.rawValue) }
        }
        try CopyReport(copier).watch(pairs, isStopped: { isStopped.isRaised })
    }

    private static func plan(
        _ sources: [CopyArgument],
        _ target: CopyArgument,
        _ copier: Copier
    ) throws -> [CopyPair] {
        do {
            let found = try copier.run.wait { try await copier.look(at: target) }
            return try CopyPlan.pairs(sources, to: target, of: found.kind, holding: found.names) {
                copier.run.remote($0).id
            }
        } catch let failure as CopyFailure {
            throw UserError("\(target.place.shown): \(copier.words(failure))")
        }
    }
}

/// Something that is raised once.
private final class StopFlag: Sendable {
    private let state = Atomic(false)

    var isRaised: Bool { self.state.load(ordering: .acquiring) }

    /// Raises it; returns whether it was raised before.
    func raise() -> Bool { self.state.exchange(true, ordering: .acquiringAndReleasing) }
}

extension Copier {
    /// What is where a copy is to go, and what a directory of a filesystem holds.
    func look(at target: CopyArgument) async throws(CopyFailure) -> (
        kind: EntryKind?, names: [FileName: EntryKind]
    ) {
        let kind: EntryKind?
        switch try await self.kind(of: target.place) {
        case .directory: kind = .directory
        case .file, .other: kind = .file
        case nil: kind = nil
        }
        if kind == .directory { return (kind, try await self.makeDirectory(target.place, kind)) }
        if target.isDirectory { throw .refused("there is no such directory") }
        if kind == nil { try await self.requireDirectory(above: target.place) }
        return (kind, [:])
    }

    private func requireDirectory(above place: CopyPlace) async throws(CopyFailure) {
        let parent: CopyPlace
        let command: String
        switch place {
        case .local(let path):
            let parts = FilePath.parts(path).dropLast()
            parent = .local((FilePath.isAbsolute(path) ? "/" : "") + parts.joined(separator: "/"))
            if parent == .local("") { return }
            command = "mkdir -p"
        case .remote(let location):
            parent = .remote(location.at(location.path.parent))
            command = "tetherfs mkdir -p"
        }
        guard try await self.kind(of: parent) != .directory else { return }
        throw .refused("there is no directory for it; make it with: \(command) \(parent.word)")
    }
}
