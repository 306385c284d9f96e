import Primitives
import RemoteAPI
import Transfers
import WireFormat

/// What `tetherfs ls` prints.
struct ListingPrinter {
    private struct Entry {
        let place: RemoteLocation
        /// As it stands in a line: the name, or the whole place of an argument.
        let label: String
        let kind: EntryKind
        var size: Result<UInt64, RemoteError>?
    }

    /// An element of `--json`.
    private struct Element: Encodable {
        let filesystem: String
        let path: String
        let kind: String
        let size: UInt64?
    }

    private let format: ListFormat
    private let run: FileCommandRun
    private let headers: Bool
    private var lines: NamePrinter
    private var elements = JSONArrayPrinter()
    private var isFirst = true

    /// With `headers` each directory's name goes before what is in it.
    init(_ format: ListFormat, _ run: FileCommandRun, headers: Bool) {
        self.format = format
        self.run = run
        self.headers = headers
        self.lines = NamePrinter(endsWithNul: format.output.zero)
    }

    /// Files that were named.
    mutating func print(files: [RemoteLocation]) async throws {
        guard !files.isEmpty else { return }
        var entries = files.map { Entry(place: $0, label: $0.text, kind: .file, size: nil) }
        if self.format.long {
            let run = self.run
            let sizes = Lookahead(64, over: files) { place -> Result<UInt64, RemoteError> in
                do throws(RemoteError) {
                    return .success(try await run.remote(place).size(of: place.path))
                } catch {
                    return .failure(error)
                }
            }
            for index in entries.indices { entries[index].size = await sizes.next() }
        }
        try self.print(entries)
        self.isFirst = false
    }

    /// What is in a directory.
    mutating func print(directory: RemoteLocation, recursive: Bool) async throws {
        let walk = RemoteWalk(
            directory.path,
            of: self.run.remote(directory),
            .init(isRecursive: recursive, withSizes: self.format.long)
        )
        var (path, entries): (RemotePath?, [Entry]) = (nil, [])
        var place = 0
        while let step = await walk.next() {
            if case .file(let file, let size) = step {
                // Files come in the listing's order, with directories among them left out.
                while place < entries.count, entries[place].place.path != file { place += 1 }
                if place < entries.count { entries[place].size = size }
                continue
            }
            if let entered = path { try self.print(directory.at(entered), entries) }
            path = nil
            switch step {
            case .enter(let entered, let listing):
                (path, place) = (entered, 0)
                entries = listing.entries.map { name, kind in
                    Entry(
                        place: directory.at(entered.appending(name)),
                        label: name.string,
                        kind: kind,
                        size: nil
                    )
                }
                if listing.refusedNameCount > 0 {
                    let count = listing.refusedNameCount
                    self.run.fail(
                        directory.at(entered).shown,
                        "\(count) names that no Linux directory can hold"
                    )
                }
            case .failed(let failed, let error): self.run.fail(directory.at(failed), error)
            case .file, .leave: break
            }
        }
    }

    /// Ends the output.
    mutating func finish() throws {
        try self.format.output.json ? self.elements.finish() : self.lines.flush()
    }

    private mutating func print(_ directory: RemoteLocation, _ entries: [Entry]) throws {
        if self.headers, !self.format.output.json {
            if !self.isFirst { try self.lines.print("") }
            try self.lines.print(directory.text + ":")
        }
        self.isFirst = false
        try self.print(entries)
    }

    private mutating func print(_ entries: [Entry]) throws {
        for entry in entries {
            if case .failure(let error) = entry.size { self.run.fail(entry.place, error) }
        }
        guard !self.format.output.json else { return try self.printElements(entries) }
        let sizes = self.format.long ? entries.map { self.sizeText($0) } : []
        let width = sizes.map(\.count).max() ?? 0
        for (index, entry) in entries.enumerated() {
            guard self.format.long else {
                try self.lines.print(entry.label)
                continue
            }
            // A size is in digits, a column each.
            let padding = String(repeating: " ", count: width - sizes[index].count)
            let kind = entry.kind == .directory ? "d" : "-"
            try self.lines.print("\(kind)  \(padding)\(sizes[index])  \(entry.label)")
        }
    }

    private func sizeText(_ entry: Entry) -> String {
        guard entry.kind == .file else { return "-" }
        // As ls does for what it could not find out.
        guard case .success(let size) = entry.size else { return "?" }
        return self.format.output.human ? ByteCountText.short(size) : "\(size)"
    }

    private mutating func printElements(_ entries: [Entry]) throws {
        for entry in entries {
            try self.elements.print(
                Element(
                    filesystem: entry.place.filesystem,
                    path: "/\(entry.place.path)",
                    kind: entry.kind == .directory ? "directory" : "file",
                    size: entry.size.flatMap { try? $0.get() }
                )
            )
        }
    }
}
