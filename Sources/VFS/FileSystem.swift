import BlockCaching
import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import Synchronization
import SystemPackage
import Transfers
import WireFormat

/// FUSE's operations by FUSE's names, without FUSE: what POSIX means on top of the service.
///
/// What can be answered from memory is a plain function and answers at once; what may wait for the service is `async`
/// (or, for reads, takes a completion). Locks are taken in this order: `gates`, `names`, a file's `transfer` (a renamed
/// file's after that of the file it replaces), its `laterWrites`, its `writers`; the mutexes inside are held for no call out.
public final class FileSystem: Sendable {
    let remote: any RemoteFilesystem
    /// Names, sizes and attributes.
    public let namespace: Namespace
    /// The bytes that the service has.
    public let cache: BlockCache
    let staging: StagingStore
    let options: WriteOptions
    let logger: Logger
    /// Files that are open, have unsent bytes, or whose staged bytes still save downloads.
    let contents = Mutex<[InodeNumber: FileContent]>([:])
    let retained: RetainedStaging
    /// Shared, on all directories above, by every change to names and every upload; held alone by the rename of a
    /// directory, whose steps depend on nothing changing below it.
    let gates = TreeGates()
    /// One lock per name, for what looks at a name and then changes it.
    let names = KeyedLocks<NameKey>()
    let uploader: Uploader
    let sizeGuess = Mutex<SizeGuess?>(nil)
    let heldWrites: HeldWrites
    /// What is uploaded in the background.
    let queue = UploadQueue()
    /// What became of bytes that could not go where they were written.
    let incidents = Mutex(Incidents())
    /// The directories that are being renamed, by the number of the rename, with how far it is, for a person.
    let renames = Mutex<[Int64: String]>([:])
    /// The directories that a rename holds which an earlier mount began, with what keeps it from getting on.
    let heldUpDirectories = Mutex<[InodeNumber: FileSystemError]>([:])
    /// What is asked for before it is read.
    let ahead: ContentsAhead

    /// Makes a filesystem over a service.
    ///
    /// - Parameters:
    ///   - remote: The service.
    ///   - namespace: Its names, of which only the root need be known.
    ///   - cache: Its bytes.
    ///   - staging: Where unsent bytes go.
    ///   - options: When they go from there to the service.
    ///   - lanes: How many parts of uploads are on their way at once, and how large they are.
    ///   - logger: Told of failures.
    public init(
        remote: any RemoteFilesystem,
        namespace: Namespace,
        cache: BlockCache,
        staging: StagingStore,
        options: WriteOptions = WriteOptions(),
        lanes: UploadLanes = UploadLanes(),
        logger: Logger
    ) {
        self.remote = remote
        self.namespace = namespace
        self.cache = cache
        self.staging = staging
        self.options = options
        self.logger = logger
        self.retained = RetainedStaging(maximumByteCount: options.retainedByteLimit)
        self.uploader = Uploader(
            remote: remote,
            namespace: namespace,
            cache: cache,
            journal: staging.journal,
            lanes: lanes,
            logger: logger
        )
        self.heldWrites = HeldWrites(limit: options.heldByteLimit, staging)
        self.ahead = ContentsAhead(namespace: namespace, cache: cache, remote: remote)
        staging.setSpareBytes { [weak self] in self?.freeRetained($0) ?? false }
        self.uploader.begun.whenIdle { [weak self] in self?.deleteGivenUpUploadsSoon() }
        self.queue.begin { [weak self] content, isForced in
            await self?.uploadInBackground(content, isForced: isForced) ?? .skipped
        }
    }

    /// A file's shared content, made if there is none; ``endUse(_:)`` is due.
    func use(_ inode: InodeNumber) -> FileContent {
        self.contents.withLock { contents in
            let content = contents[inode] ?? FileContent(inode)
            if contents[inode] == nil {
                let isPinned = self.namespace.pin(inode)
                content.state.withLock { $0.isPinned = isPinned }
                contents[inode] = content
            }
            content.state.withLock { $0.useCount += 1 }
            return content
        }
    }

    func existingContent(of inode: InodeNumber) -> FileContent? {
        self.contents.withLock { $0[inode] }
    }

    /// Ends ``use(_:)``.
    ///
    /// - Parameters:
    ///   - content: The content.
    ///   - uploadsRest: Whether what no flush covered is uploaded if nobody uses it any more. That is so whoever is the
    ///     last: the last handle may have been closed while something else had it in use.
    func endUse(_ content: FileContent, uploadsRest: Bool = true) {
        self.letGo(content) { $0.useCount -= 1 }
        // In this order: what may not stay goes only once nobody uses it.
        self.retain(content)
        if uploadsRest, content.state.withLock({ $0.useCount == 0 }) { self.uploadRest(of: content) }
    }

    /// Changes what keeps a content, and lets it go if nothing does: no user, no unsent bytes, nothing worth keeping.
    ///
    /// What is here of a file whose name is gone is kept while the kernel knows its number: it may open it in the
    /// moment before it hears that the name is gone.
    func letGo(_ content: FileContent, _ change: @Sendable (inout FileContent.State) -> Void = { _ in }) {
        typealias Held = (StagedFile?, StagedFile?)
        let (isDropped, held): (Bool, Held) = self.contents.withLock { contents in
            let mayBeOpened = self.namespace.lookupCount(of: content.inode) ?? 0 > 0
            let (isUnused, held): (Bool, Held) = content.state.withLock { state in
                let held = (state.staged, state.former?.staged)
                change(&state)
                guard state.useCount == 0 else { return (false, held) }
                if state.isUnlinked {
                    state.discard()
                    if !mayBeOpened || state.staged?.isWhole == false { state.staged = nil }
                }
                return (state.staged == nil, held)
            }
            guard isUnused, contents[content.inode] === content else { return (false, held) }
            contents[content.inode] = nil
            return (true, held)
        }
        // Held until here: local files are closed and unlinked with them, for which nobody else is to wait.
        withExtendedLifetime(held) {}
        guard isDropped else { return }
        self.retained.remove(content.inode)
        if content.state.withLock(\.isPinned) { self.namespace.unpin(content.inode) }
    }

    /// Makes the staged file of a content that has none, as the service has the file.
    ///
    /// - Parameters:
    ///   - content: The content.
    ///   - base: The version that bytes not written here come from.
    /// - Returns: The staged file, also if there was one.
    /// - Throws: The local disk's error.
    func stage(_ content: FileContent, base: FileVersion) throws(FileSystemError) -> StagedFile {
        if let current = content.currentStaged(known: base) { return current.file }
        let made = try self.makeStaged(content, size: base.size, baseSize: base.size)
        return self.publish(made, base: base, in: content)
    }

    /// Makes the staged file of a content that has none, as an empty file of which the service has nothing.
    ///
    /// - Parameter content: The content.
    /// - Returns: The staged file, also if there was one.
    /// - Throws: The local disk's error.
    func stageEmpty(_ content: FileContent) throws(FileSystemError) -> StagedFile {
        if let current = content.currentStaged(known: nil) { return current.file }
        let isReplacing = self.namespace.isOnServer(content.inode)
        let replaced = isReplacing ? self.namespace.knownVersion(of: content.inode)?.size : nil
        let made = try self.makeStaged(content, size: 0, baseSize: replaced)
        if isReplacing { made.setBase(size: replaced, isUnknown: replaced == nil) }
        // Before anybody sees it: clean, it would be taken for what the service has.
        do throws(Errno) { try made.markDirty() } catch { throw .local(error) }
        return self.publish(made, base: nil, in: content)
    }

    /// Gives a content that is emptied a new staged file, empty, and keeps the one it had if bytes of it were promised:
    /// those are not on the service yet.
    ///
    /// - Parameters:
    ///   - content: The content.
    ///   - former: What it had when its caller looked.
    /// - Throws: The local disk's error, also where what was promised last could not be made durable.
    func stageAnew(_ content: FileContent, after former: StagedFile) async throws(FileSystemError) {
        // Else nothing would be left for a later mount of what was promised before that.
        do throws(Errno) { try await former.confirmPromise() } catch { throw .local(error) }
        let made = try self.makeStaged(content, size: 0, baseSize: nil)
        do throws(Errno) { try made.markDirty() } catch { throw .local(error) }
        // Nobody is in the middle of writing to the former one.
        let isKept = await content.writers.alone {
            content.state.withLock { state in
                guard state.staged === former, former.isDirty, !state.isUnlinked else {
                    made.discard()
                    return false
                }
                defer { (state.staged, state.base) = (made, nil) }
                made.inherit(from: former)
                guard former.holdsPromise else {
                    former.discard()
                    // What goes up of it is in vain.
                    if !state.isCompleting { self.queue.stop(content.inode) }
                    return false
                }
                // Of two that were promised the later one counts.
                state.discardFormer()
                state.former = (former, state.base)
                return true
            }
        }
        // It may wait there no more, as it was open after its last fsync.
        if isKept { self.enqueue(content, isRenewed: false) }
    }

    private func makeStaged(
        _ content: FileContent,
        size: UInt64,
        baseSize: UInt64?
    ) throws(FileSystemError) -> StagedFile {
        let (namespace, inode) = (self.namespace, content.inode)
        do throws(Errno) {
            return try self.staging.makeFile(
                for: namespace.path(of: inode),
                size: size,
                baseSize: baseSize,
                at: { namespace.path(of: inode) }
            )
        } catch {
            throw .local(error)
        }
    }

    private func publish(
        _ made: StagedFile,
        base: FileVersion?,
        in content: FileContent
    ) -> StagedFile {
        content.state.withLock { state in
            if let staged = state.staged {
                made.discard()
                return staged
            }
            state.staged = made
            state.base = base
            if state.isUnlinked { made.discard() }
            return made
        }
    }

    /// Does something while the directories above some others, and these, stay where they are. What is known of the
    /// names in them stays in memory, so that what one step found the next one finds as well.
    ///
    /// - Parameters:
    ///   - directories: Where something changes, asked for again until they have stood still.
    ///   - alone: The directories that move, or are replaced.
    ///   - body: What is done.
    /// - Returns: What it returned.
    /// - Throws: What it threw.
    func holding<Value: Sendable, Failure: Error>(
        _ directories: () -> [InodeNumber],
        alone: Set<InodeNumber> = [],
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        // What is uploaded in the background does not wait for that in its place.
        defer { if !alone.isEmpty { self.queue.didOpenGates() } }
        while true {
            let pinned = (directories() + alone).filter { self.namespace.pin($0) }
            defer { for directory in pinned { self.namespace.unpin(directory) } }
            let above = Set(directories().flatMap(self.namespace.ancestors))
            let value: Value? = try await self.gates.hold(above, alone: alone) { () async throws(Failure) in
                guard Set(directories().flatMap(self.namespace.ancestors)) == above else { return nil }
                return try await body()
            }
            if let value { return value }
        }
    }

    /// Does something as ``holding(_:alone:_:)`` does, unless one of the directories above is held alone, or is about to be.
    ///
    /// - Returns: What it returned; nothing if it was not done.
    func holdingNow<Value: Sendable>(
        _ directories: () -> [InodeNumber],
        _ body: () async -> Value
    ) async -> Value? {
        while true {
            let pinned = directories().filter { self.namespace.pin($0) }
            defer { for directory in pinned { self.namespace.unpin(directory) } }
            let above = Set(directories().flatMap(self.namespace.ancestors))
            let entered: Value?? = await self.gates.holdNow(above) { () async -> Value? in
                guard Set(directories().flatMap(self.namespace.ancestors)) == above else { return nil }
                return await body()
            }
            guard let value = entered else { return nil }
            if let value { return value }
        }
    }

    /// Checks a name that the kernel sent.
    func name(_ bytes: some Collection<UInt8>) throws(FileSystemError) -> FileName {
        guard bytes.count <= FileName.maximumByteCount else { throw .nameTooLong }
        guard let name = FileName(bytes: bytes) else { throw .unrepresentableName }
        return name
    }

    /// A file's version, asking for its size if what is known is too old.
    ///
    /// - Throws: `.stale` if its name is gone: what asks by number has the kernel look the name up again.
    func version(of inode: InodeNumber) async throws(FileSystemError) -> FileVersion {
        do throws(RemoteError) {
            return try await self.namespace.version(of: inode)
        } catch {
            throw error == .notFound ? .stale : FileSystemError(error)
        }
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
