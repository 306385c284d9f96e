import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import Staging
import Synchronization
import SystemPackage

/// What a read comes to.
public enum ReadOutcome: Sendable {
    /// The bytes, in order; fewer than asked for only at the file's end.
    case ready([ByteSlice])
    /// They are being fetched; the completion is called once. The closure gives the read up.
    case pending(cancel: @Sendable () -> Void)
}

/// Gives a read up, with all of its few attempts: which one is under way is not known for sure.
private final class ReadAttempts: Sendable {
    private struct State {
        var isCancelled = false
        var cancel: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())

    /// Takes what gives the attempt up that was just begun.
    func begin(_ cancel: @escaping @Sendable () -> Void) {
        let isCancelled = self.state.withLock { state in
            state.cancel.append(cancel)
            return state.isCancelled
        }
        if isCancelled { cancel() }
    }

    @Sendable func cancel() {
        let attempts = self.state.withLock { state in
            state.isCancelled = true
            return state.cancel
        }
        for cancel in attempts { cancel() }
    }
}

extension FileSystem {
    /// What a read's outcome is told to.
    public typealias ReadCompletion = @Sendable (Result<[ByteSlice], FileSystemError>) -> Void

    /// Reads bytes of a file.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - range: Offsets in bytes, end exclusive.
    ///   - isDirect: Whether the file was opened with O_DIRECT, so that the kernel fills up nothing that is missing.
    ///   - completion: Called once if the outcome is `.pending`, on any thread.
    /// - Returns: The bytes, or the word that they are being fetched.
    /// - Throws: If the file is gone, or the local disk fails.
    public func read(
        _ handle: FileHandle,
        _ range: Range<UInt64>,
        isDirect: Bool = false,
        completion: @escaping ReadCompletion
    ) throws(FileSystemError) -> ReadOutcome {
        let content = handle.content
        if content.pendingWrites.hold(range) {
            return self.readAfterWrites(handle, range, isDirect, completion)
        }
        var known = self.namespace.knownVersion(of: content.inode)
        // Of no version that is known to be the file, what is clean is not the file either.
        if let (staged, base) = content.currentStaged(known: known),
            known != nil || staged.isDirty || content.isOnItsOwn
        {
            if staged.pieces(of: range).allSatisfy(\.isHere) {
                let slices = try self.readStaged(staged, range)
                if try !self.wasLost(staged, of: content) { return .ready(slices) }
            }
            // A clean one is the service's file: what it lacks need not be put together.
            if staged.isDirty || content.isOnItsOwn {
                let task = Task { completion(await self.readMixed(content, staged, base, range, isDirect)) }
                return .pending { task.cancel() }
            }
            // It may have been uploaded since: it is clean only once the version that it became is known.
            known = self.namespace.knownVersion(of: content.inode)
        }
        // What was done to it failed in a way that leaves open what the service has now; or it is becoming longer.
        guard let known, !self.isShort(content, known.size, range, isDirect) else {
            let task = Task {
                completion(await self.readPresent(content, range, isDirect, after: .changedOnServer))
            }
            return .pending { task.cancel() }
        }
        let source = self.blockSource(content, known)
        defer {
            if handle.noteRead() {
                self.ahead.didBeginReading(content.inode, size: known.size, at: range.lowerBound)
            }
        }
        let attempts = ReadAttempts()
        guard range.lowerBound < BlockGeometry.blockByteCount, let head = self.ahead.head(of: content.inode)
        else { return self.read(handle, source, range, isDirect, attempts, completion) }
        // The first bytes are on their way already: what comes after them does not wait for them.
        let rest = BlockGeometry.blockByteCount..<max(BlockGeometry.blockByteCount, range.upperBound)
        handle.reader.readAhead(source, rest)
        handle.reader.expect(source, range)
        let task = Task {
            if let error = await self.ahead.wait(for: head) {
                completion(.failure(FileSystemError(error)))
            } else if Task.isCancelled {
                completion(.failure(FileSystemError(BlockError.cancelled)))
            } else {
                let outcome = self.read(handle, source, range, isDirect, attempts, completion)
                if case .ready(let slices) = outcome { completion(.success(slices)) }
            }
        }
        attempts.begin { task.cancel() }
        return .pending(cancel: attempts.cancel)
    }

    private func readAfterWrites(
        _ handle: FileHandle,
        _ range: Range<UInt64>,
        _ isDirect: Bool,
        _ completion: @escaping ReadCompletion
    ) -> ReadOutcome {
        let attempts = ReadAttempts()
        let task = Task {
            await handle.content.pendingWrites.wait(for: range)
            guard !Task.isCancelled else {
                return completion(.failure(FileSystemError(BlockError.cancelled)))
            }
            do throws(FileSystemError) {
                switch try self.read(handle, range, isDirect: isDirect, completion: completion) {
                case .ready(let slices): completion(.success(slices))
                case .pending(let cancel): attempts.begin(cancel)
                }
            } catch {
                completion(.failure(error))
            }
        }
        attempts.begin { task.cancel() }
        return .pending(cancel: attempts.cancel)
    }

    private func read(
        _ handle: FileHandle,
        _ source: BlockSource,
        _ range: Range<UInt64>,
        _ isDirect: Bool,
        _ attempts: ReadAttempts,
        _ completion: @escaping ReadCompletion
    ) -> ReadOutcome {
        let content = handle.content
        let outcome = handle.reader.read(source, range) { result in
            switch result {
            case .success(let slices) where !self.isCutOff(slices, range, of: content, isDirect):
                completion(.success(slices))
            case .success:
                self.readPresent(content, range, isDirect, after: .changedOnServer, attempts, completion)
            case .failure(let error):
                self.readAgain(content, source, range, isDirect, after: error, attempts, completion)
            }
        }
        switch outcome {
        case .ready(let slices) where !self.isCutOff(slices, range, of: content, isDirect):
            return .ready(slices)
        case .ready:
            self.readPresent(content, range, isDirect, after: .changedOnServer, attempts, completion)
            return .pending(cancel: attempts.cancel)
        case .pending(let read):
            attempts.begin { read.cancel() }
            return .pending(cancel: attempts.cancel)
        }
    }

    /// Whether the kernel fills up with zeros what a read lacks of the size that it takes the file to have: where that
    /// is as it stays, the file changed under its reader, which must be told.
    private func isShort(
        _ content: FileContent,
        _ size: UInt64,
        _ range: Range<UInt64>,
        _ isDirect: Bool
    ) -> Bool {
        self.namespace.kernelExpects(range, of: content.inode, beyond: size, isDirect: isDirect)
    }

    /// Whether a read ends where the kernel takes the file to go on: it was told of a larger size since its version was
    /// asked for.
    private func isCutOff(
        _ slices: [ByteSlice],
        _ range: Range<UInt64>,
        of content: FileContent,
        _ isDirect: Bool
    ) -> Bool {
        let end = range.lowerBound + slices.reduce(0) { $0 + UInt64($1.range.count) }
        return end < range.upperBound && self.isShort(content, end, range, isDirect)
    }

    /// Whether the kernel may take a file to go on after an offset in bytes: it shows zeros there then if a read ends at
    /// it, unless it takes the file's end from that; see ``kernelMustForget(_:)``.
    public func kernelMayExpectMore(than end: UInt64, of inode: InodeNumber) -> Bool {
        self.namespace.kernelMayExpectMore(than: end, of: inode)
    }

    /// Whether the kernel must be made to forget a file, a read of which failed with `.changedOnServer` or `.stale`.
    public func kernelMustForget(_ inode: InodeNumber) -> Bool {
        self.namespace.mustBeForgotten(inode)
    }

    /// A file's bytes, wherever they are.
    ///
    /// - Parameters:
    ///   - content: The file's.
    ///   - staged: What was written here, if anything was.
    ///   - base: The version on the service that has the rest, if any has.
    ///   - size: How many they are.
    /// - Returns: What can be read, or uploaded.
    func source(
        of content: FileContent,
        _ staged: StagedFile?,
        over base: FileVersion?,
        size: UInt64
    ) -> Uploader.Source {
        Uploader.Source(staged: staged, base: base.map { self.blockSource(content, $0) }, size: size)
    }

    private func blockSource(_ content: FileContent, _ version: FileVersion) -> BlockSource {
        BlockSource(
            content: version.content,
            size: version.size,
            outdated: {
                guard let file = self.namespace.sibling(content.inode) else { return }
                self.namespace.endVersion(version.content, of: file)
            },
            path: { self.namespace.path(of: content.inode) }
        )
    }

    /// Whether the disk lost some of what is here: of a copy of what the service has nothing is believed any more then.
    ///
    /// - Throws: The disk's error, where nobody else has the bytes.
    @discardableResult
    func wasLost(_ staged: StagedFile, of content: FileContent) throws(FileSystemError) -> Bool {
        guard let failure = staged.diskFailure() else { return false }
        guard !staged.isDirty, !content.isOnItsOwn else { throw .local(failure) }
        self.forgetVersion(of: content)
        return true
    }

    private func readStaged(
        _ staged: StagedFile,
        _ range: Range<UInt64>
    ) throws(FileSystemError) -> [ByteSlice] {
        let range = range.clamped(to: 0..<staged.size)
        let buffer = ByteBuffer(count: range.count)
        do throws(Errno) {
            let count = try staged.read(into: buffer.uninitialized, at: range.lowerBound)
            return [ByteSlice(buffer, 0..<count)]
        } catch {
            throw .local(error)
        }
    }

    private func readMixed(
        _ content: FileContent,
        _ staged: StagedFile,
        _ base: FileVersion?,
        _ range: Range<UInt64>,
        _ isDirect: Bool
    ) async -> Result<[ByteSlice], FileSystemError> {
        let source = self.source(of: content, staged, over: base, size: staged.size)
        do throws(FileSystemError) {
            let slices = try await self.uploader.slices(of: range, source)
            if let failure = staged.diskFailure() { throw .local(failure) }
            return .success(slices)
        } catch {
            guard [.changedOnServer, .stale, .remote(.notFound)].contains(error) else {
                return .failure(error)
            }
            // An upload may have become the file in the meantime, perhaps under another name: then what is here has that
            // as its base, once the service's answer has come.
            if content.state.withLock({ $0.isCompleting }) { await content.transfer.shared {} }
            let isPast = content.state.withLock { state in
                state.staged !== staged || state.base?.content != base?.content
            }
            guard isPast else { return .failure(error) }
            return await self.readPresent(content, range, isDirect, after: .changedOnServer)
        }
    }

    /// The file was not what we took it for: reads what it is now.
    private func readAgain(
        _ content: FileContent,
        _ source: BlockSource,
        _ range: Range<UInt64>,
        _ isDirect: Bool,
        after error: BlockError,
        _ attempts: ReadAttempts,
        _ completion: @escaping ReadCompletion
    ) {
        switch error {
        case .changedOnServer, .gone, .remote(.notFound):
            // Also if it was asked for on behalf of somebody else, such as an upload.
            if error != .gone { source.outdated() }
            self.readPresent(content, range, isDirect, after: error, attempts, completion)
        case .remote, .cancelled: completion(.failure(FileSystemError(error)))
        }
    }

    private func readPresent(
        _ content: FileContent,
        _ range: Range<UInt64>,
        _ isDirect: Bool,
        after error: BlockError,
        _ attempts: ReadAttempts,
        _ completion: @escaping ReadCompletion
    ) {
        let task = Task { completion(await self.readPresent(content, range, isDirect, after: error)) }
        attempts.begin { task.cancel() }
    }

    /// So often a file may become longer while it is read.
    private static let growthCount = 8

    /// Reads the version that there is now.
    private func readPresent(
        _ content: FileContent,
        _ range: Range<UInt64>,
        _ isDirect: Bool,
        after error: BlockError
    ) async -> Result<[ByteSlice], FileSystemError> {
        if error == .gone, self.stagedAlone(content) == nil { return .failure(.stale) }
        do throws(FileSystemError) {
            for _ in 0..<Self.growthCount {
                // Unlinked, replaced or written to meanwhile: its bytes were brought here.
                if let (staged, base) = self.stagedAlone(content) {
                    return await self.readMixed(content, staged, base, range, isDirect)
                }
                let version = try await self.version(of: content.inode)
                guard self.stagedAlone(content) == nil else { continue }
                if self.isShort(content, version.size, range, isDirect) { throw .changedOnServer }
                let slices: [ByteSlice]
                do throws(BlockError) {
                    slices = try await self.cache.read(self.blockSource(content, version), range)
                } catch {
                    throw FileSystemError(error)
                }
                if !self.isCutOff(slices, range, of: content, isDirect) { return .success(slices) }
            }
            throw .changedOnServer
        } catch {
            return .failure(error)
        }
    }

    /// What is staged of a file, where that is the file whatever the service has.
    private func stagedAlone(_ content: FileContent) -> (file: StagedFile, base: FileVersion?)? {
        guard let (staged, base) = content.currentStaged(known: nil), staged.isDirty || content.isOnItsOwn
        else {
            return nil
        }
        return (staged, base)
    }
}
