import ArgumentParser
import RemoteAPI
import Transfers
import WireFormat

/// `tetherfs du`.
struct DiskUsageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "du",
        abstract: "Adds up the sizes of files, without mounting their filesystem.",
        usage: "tetherfs du [-s] [--human] [-0 | --json] <NAME:/path> ... [<options>]",
        discussion: """
            Bytes and name of each directory, with all that is below it. Every file's size costs a request.

            Examples:
              tetherfs du -s --human data:/
              tetherfs du data:/photos | sort -n | tail
            """
    )

    @Flag(name: [.customShort("s"), .customLong("summarize")], help: "Only the places that are named.")
    var summarize = false

    @Flag(name: [.customLong("human")], help: "Sizes such as 1.2M.")
    var human = false

    @Flag(
        name: [.customShort("0"), .customLong("zero")],
        help: "End each line with a NUL, names as they are."
    )
    var zero = false

    @Flag(help: "Print a JSON array.")
    var json = false

    @Argument(
        help: ArgumentHelp("Files or directories.", valueName: "NAME:/path"),
        completion: CommandCompletion.places
    )
    var places: [String]

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    func validate() throws {
        if self.json, self.zero { throw ValidationError("--json and -0 exclude each other") }
    }

    func run() throws {
        let places = try self.places.map(RemoteLocation.required)
        let run = try self.connection.open(places)
        let output = UsagePrinter(human: self.human, zero: self.zero, json: self.json)
        let summarize = self.summarize
        try run.wait {
            var output = output
            for place in places {
                let known: Usage?
                do throws(RemoteError) {
                    known = try await Self.ofFile(place.path, run.remote(place))
                } catch {
                    run.fail(place, error)
                    continue
                }
                if let known {
                    try output.print(place, known)
                    continue
                }
                try await Self.addUp(place, run) { directory, usage in
                    if !summarize || directory == place { try output.print(directory, usage) }
                }
            }
            try output.finish()
        }
        try run.finish()
    }

    /// What a file has; nothing if it is a directory.
    private static func ofFile(
        _ path: RemotePath,
        _ remote: RemoteClientFilesystem
    ) async throws(RemoteError) -> Usage? {
        switch try await remote.kind(of: path) {
        case .file: Usage(bytes: try await remote.size(of: path), files: 1)
        case .directory: nil
        case nil: throw .notFound
        }
    }

    /// Tells of each directory when all below it was counted. What cannot be had is told and not counted.
    private static func addUp(
        _ place: RemoteLocation,
        _ run: FileCommandRun,
        _ tell: (RemoteLocation, Usage) throws -> Void
    ) async throws {
        let walk = RemoteWalk(place.path, of: run.remote(place), .init(withSizes: true))
        var levels: [Usage] = []
        while let step = await walk.next() {
            switch step {
            case .enter: levels.append(Usage())
            case .file(_, .success(let size)): levels[levels.count - 1].add(Usage(bytes: size, files: 1))
            case .file(let path, .failure(let error)): run.fail(place.at(path), error)
            case .file(_, nil): break
            case .failed(let path, let error): run.fail(place.at(path), error)
            case .leave(let path):
                let usage = levels.removeLast()
                if !levels.isEmpty { levels[levels.count - 1].add(usage) }
                try tell(place.at(path), usage)
            }
        }
    }
}

/// What files have together.
struct Usage: Sendable {
    var bytes: UInt64 = 0
    var files: UInt64 = 0

    mutating func add(_ other: Usage) {
        self.bytes += other.bytes
        self.files += other.files
    }
}

/// What `tetherfs du` prints.
struct UsagePrinter {
    private struct Element: Encodable {
        let filesystem: String
        let path: String
        let bytes: UInt64
        let files: UInt64
    }

    private let human: Bool
    private let json: Bool
    private var lines: NamePrinter
    private var elements = JSONArrayPrinter()

    init(human: Bool, zero: Bool, json: Bool) {
        self.human = human
        self.json = json
        self.lines = NamePrinter(endsWithNul: zero)
    }

    mutating func print(_ place: RemoteLocation, _ usage: Usage) throws {
        guard !self.json else {
            return try self.elements.print(
                Element(
                    filesystem: place.filesystem,
                    path: "/\(place.path)",
                    bytes: usage.bytes,
                    files: usage.files
                )
            )
        }
        let size = self.human ? ByteCountText.short(usage.bytes) : "\(usage.bytes)"
        try self.lines.print("\(size)\t\(place.text)")
    }

    mutating func finish() throws {
        try self.json ? self.elements.finish() : self.lines.flush()
    }
}
