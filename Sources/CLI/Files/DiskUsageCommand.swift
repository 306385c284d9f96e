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

    @OptionGroup
    var format: OutputFormat

    @OptionGroup
    var places: PlaceArguments

    func run() throws {
        let output = UsagePrinter(self.format)
        let summarize = self.summarize
        try self.places.run { run, places in
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

    private let format: OutputFormat
    private var lines: NamePrinter
    private var elements = JSONArrayPrinter()

    init(_ format: OutputFormat) {
        self.format = format
        self.lines = NamePrinter(endsWithNul: format.zero)
    }

    mutating func print(_ place: RemoteLocation, _ usage: Usage) throws {
        guard !self.format.json else {
            return try self.elements.print(
                Element(
                    filesystem: place.filesystem,
                    path: "/\(place.path)",
                    bytes: usage.bytes,
                    files: usage.files
                )
            )
        }
        let size = self.format.human ? ByteCountText.short(usage.bytes) : "\(usage.bytes)"
        try self.lines.print("\(size)\t\(place.text)")
    }

    mutating func finish() throws {
        try self.format.json ? self.elements.finish() : self.lines.flush()
    }
}
