import BlockCaching
import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import Synchronization
import SystemPackage
import WireFormat

/// FUSE's operations by FUSE's names, without FUSE: what POSIX means on top of the service.
///
/// What can be answered from memory is a plain function and answers at once; what may wait for the service is `async`
/// (or, for reads, takes a completion). Locks are taken in this order: `tree`, `names`, a file's `transfer`, its
/// `writers`; the mutexes inside are held for no call out.
public final class FileSystem: Sendable {
    let remote: any RemoteFilesystem
    /// Names, sizes and attributes.
    public let namespace: Namespace
    /// The bytes that the service has.
    public let cache: BlockCache
    let staging: StagingStore
    let logger: Logger
    /// Files that are open, have unsent bytes, or whose staged bytes still save downloads.
    let contents = Mutex<[InodeNumber: FileContent]>([:])
    let retained: RetainedStaging
    /// Shared by every change to names and every upload; held alone by the rename of a directory, whose steps
    /// depend on nothing moving below it.
    let tree = AsyncGate()
    /// One lock per name, for what looks at a name and then changes it.
    let names = KeyedLocks<NameKey>()
    let uploader: Uploader

    /// Makes a filesystem over a service.
    ///
    /// - Parameters:
    ///   - remote: The service.
    ///   - namespace: Its names, of which only the root need be known.
    ///   - cache: Its bytes.
    ///   - staging: Where unsent bytes go.
    ///   - logger: Told of failures.
    public init(
        remote: any RemoteFilesystem,
        namespace: Namespace,
        cache: BlockCache,
        staging: StagingStore,
        logger: Logger
    ) {
        self.remote = remote
        self.namespace = namespace
        self.cache = cache
        self.staging = staging
        self.logger = logger
        self.retained = RetainedStaging()
        self.uploader = Uploader(remote: remote, namespace: namespace, cache: cache, logger: logger)
    }

    /// A file's shared content, made if there is none.
    func content(of inode: InodeNumber) -> FileContent {
        self.contents.withLock { contents in
            if let content = contents[inode] { return content }
            let content = FileContent(inode)
            contents[inode] = content
            self.namespace.pin(inode)
            return content
        }
    }

    func existingContent(of inode: InodeNumber) -> FileContent? {
        self.contents.withLock { $0[inode] }
    }

    /// Lets a file's content go if nobody needs it: no handle, no unsent bytes, nothing worth keeping.
    func dropIfUnused(_ content: FileContent) {
        let isDropped: Bool = self.contents.withLock { contents in
            let isUnused = content.state.withLock { state in
                guard state.handleCount == 0 else { return false }
                if state.isUnlinked {
                    state.staged?.discard()
                    state.staged = nil
                }
                return state.staged == nil
            }
            guard isUnused, contents[content.inode] === content else { return false }
            contents[content.inode] = nil
            return true
        }
        if isDropped { self.namespace.unpin(content.inode) }
    }

    /// Makes the staged file of a content that has none, as the service has the file.
    ///
    /// - Parameter base: The version that bytes not written here come from; nothing for an empty file.
    func stage(_ content: FileContent, base: FileVersion?) throws(FileSystemError) -> StagedFile {
        if let current = content.currentStaged(known: base) { return current.file }
        let made: StagedFile
        do throws(Errno) {
            made = try self.staging.makeFile(
                for: self.namespace.path(of: content.inode),
                size: base?.size ?? 0
            )
        } catch {
            throw .local(error)
        }
        return content.state.withLock { state in
            if let staged = state.staged { return staged }
            state.staged = made
            state.base = base
            return made
        }
    }

    /// Checks a name that the kernel sent.
    func name(_ bytes: some Collection<UInt8>) throws(FileSystemError) -> FileName {
        guard bytes.count <= FileName.maximumByteCount else { throw .nameTooLong }
        guard let name = FileName(bytes: bytes) else { throw .unrepresentableName }
        return name
    }

    func fail<Value>(_ body: () async throws(RemoteError) -> Value) async throws(FileSystemError) -> Value {
        do throws(RemoteError) {
            return try await body()
        } catch {
            throw FileSystemError(error)
        }
    }
}

/// A name in a directory, as something to lock.
struct NameKey: Hashable, Comparable, Sendable {
    let parent: InodeNumber
    let name: FileName

    static func < (left: NameKey, right: NameKey) -> Bool {
        left.parent == right.parent ? left.name < right.name : left.parent < right.parent
    }
}
