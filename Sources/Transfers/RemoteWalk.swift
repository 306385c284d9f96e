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
    private let tree: TreeWalk<RemotePath, Result<RemoteListing, RemoteError>>
    private var files: (directory: RemotePath, names: ArraySlice<FileName>) = (.root, [])

    init(_ directory: RemotePath, _ remote: any RemoteFilesystem, _ options: RemoteWalk.Options) {
        self.tree = TreeWalk(directory, ahead: options.listingsAtOnce) {
            await remote.sortedListing(of: $0)
        } directories: { path, result in
            guard options.isRecursive, case .success(let listing) = result else { return [] }
            return listing.entries.filter { $0.kind == .directory }.map { path.appending($0.name) }
        }
    }

    func next() async -> RemoteWalk.Step? {
        if let name = self.files.names.popFirst() {
            return .file(self.files.directory.appending(name), nil)
        }
        switch await self.tree.next() {
        case .enter(let path, .success(let listing)):
            self.files = (path, listing.entries.filter { $0.kind == .file }.map(\.name)[...])
            return .enter(path, listing)
        case .enter(let path, .failure(let error)):
            _ = await self.tree.next()  // Its end: there is nothing in it.
            return .failed(path, error)
        case .leave(let path): return .leave(path)
        case nil: return nil
        }
    }
}

extension RemoteFilesystem {
    fileprivate func sortedListing(of directory: RemotePath) async -> Result<RemoteListing, RemoteError> {
        do throws(RemoteError) {
            var listing = try await self.list(directory)
            listing.entries.sort { $0.name < $1.name }
            return .success(listing)
        } catch {
            return .failure(error)
        }
    }

    fileprivate func sizeResult(of file: RemotePath) async -> Result<UInt64, RemoteError> {
        do throws(RemoteError) { return .success(try await self.size(of: file)) } catch {
            return .failure(error)
        }
    }
}
