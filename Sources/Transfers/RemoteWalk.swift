import Primitives
import RemoteAPI
import WireFormat

/// Goes through a directory of the service: its files, then the directories in it, each with what is below it before the
/// next, all in the order of their names' bytes.
///
/// Of each directory on the way a few of those in it are listed ahead, so that memory is bounded by depth and width of
/// one listing, whatever the size of the tree. Used by one task at a time.
public final class RemoteWalk {
    /// What it comes to.
    public enum Step: Sendable {
        /// A directory, with its listing in order; its files follow, then the directories in it, then its `leave`.
        case enter(RemotePath, RemoteListing)
        /// A file, with its size if that was to be asked for.
        case file(RemotePath, Result<UInt64, RemoteError>?)
        /// The end of a directory that was entered.
        case leave(RemotePath)
        /// A directory that could not be listed; nothing of it follows.
        case failed(RemotePath, RemoteError)
    }

    /// How far it goes, and what it asks for.
    public struct Options: Sendable {
        /// Whether it goes into the directories that it finds.
        public var isRecursive: Bool
        /// Whether files come with their sizes, a request each.
        public var withSizes: Bool
        /// How many sizes are asked for at once.
        public var sizesAtOnce = 64
        /// How many directories of one are listed ahead.
        public var listingsAtOnce = 8

        /// Makes options.
        public init(isRecursive: Bool = true, withSizes: Bool = false) {
            self.isRecursive = isRecursive
            self.withSizes = withSizes
        }
    }

    private let steps: Lookahead<Step, Step>

    /// Begins at a directory that is known to be one, as an empty listing does not prove it.
    public init(_ directory: RemotePath, of remote: any RemoteFilesystem, _ options: Options = Options()) {
        let names = NameWalk(directory, remote, options)
        self.steps = Lookahead(
            options.withSizes ? options.sizesAtOnce : 1,
            from: { await names.next() }
        ) { step in
            guard options.withSizes, case .file(let path, _) = step else { return step }
            return .file(path, await remote.sizeResult(of: path))
        }
    }

    /// The next step; nothing after the last.
    public func next() async -> Step? { await self.steps.next() }
}

/// The same without sizes.
private final class NameWalk {
    private typealias Answer = (RemotePath, Result<RemoteListing, RemoteError>)

    private struct Level {
        let path: RemotePath
        var files: ArraySlice<FileName>
        let directories: Lookahead<RemotePath, Answer>
    }

    private let remote: any RemoteFilesystem
    private let options: RemoteWalk.Options
    private var start: RemotePath?
    private var levels: [Level] = []

    init(_ directory: RemotePath, _ remote: any RemoteFilesystem, _ options: RemoteWalk.Options) {
        self.start = directory
        self.remote = remote
        self.options = options
    }

    func next() async -> RemoteWalk.Step? {
        if let start = self.start {
            self.start = nil
            return self.enter((start, await self.remote.listResult(start)))
        }
        guard let level = self.levels.last else { return nil }
        if let name = self.levels[self.levels.count - 1].files.popFirst() {
            return .file(level.path.appending(name), nil)
        }
        if let answer = await level.directories.next() { return self.enter(answer) }
        self.levels.removeLast()
        return .leave(level.path)
    }

    private func enter(_ answer: Answer) -> RemoteWalk.Step {
        let (path, result) = answer
        var listing: RemoteListing
        switch result {
        case .failure(let error): return .failed(path, error)
        case .success(let found): listing = found
        }
        listing.entries.sort { $0.name < $1.name }
        let directories = self.options.isRecursive ? listing.entries.filter { $0.kind == .directory } : []
        let remote = self.remote
        let level = Level(
            path: path,
            files: listing.entries.filter { $0.kind == .file }.map(\.name)[...],
            directories: Lookahead(
                self.options.listingsAtOnce,
                over: directories.map { path.appending($0.name) }
            ) { ($0, await remote.listResult($0)) }
        )
        self.levels.append(level)
        return .enter(path, listing)
    }
}

extension RemoteFilesystem {
    fileprivate func listResult(_ directory: RemotePath) async -> Result<RemoteListing, RemoteError> {
        do throws(RemoteError) { return .success(try await self.list(directory)) } catch {
            return .failure(error)
        }
    }

    fileprivate func sizeResult(of file: RemotePath) async -> Result<UInt64, RemoteError> {
        do throws(RemoteError) { return .success(try await self.size(of: file)) } catch {
            return .failure(error)
        }
    }
}
