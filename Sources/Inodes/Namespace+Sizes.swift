import Primitives
import RemoteAPI
import WireFormat

/// One version of a file on the service.
public struct FileVersion: Sendable, Hashable {
    /// The version's name.
    public var content: ContentID
    /// Its size in bytes.
    public var size: UInt64
    /// How long this may be believed.
    public var validFor: Duration

    /// Makes a version.
    public init(content: ContentID, size: UInt64, validFor: Duration) {
        self.content = content
        self.size = size
        self.validFor = validFor
    }
}

extension Namespace {
    /// A file's version, if its size was asked for within the time to live.
    public func freshVersion(of inode: InodeNumber) -> FileVersion? {
        self.state.withLock { state in
            guard let facts = state.facts(of: inode), let size = facts.size, let content = facts.content,
                self.isFresh(facts.sizeAsOf) || state.nodes[inode]?.isDetached == true
            else { return nil }
            return FileVersion(content: content, size: size, validFor: self.remaining(facts.sizeAsOf))
        }
    }

    /// A file's version as last seen, however long ago.
    public func knownVersion(of inode: InodeNumber) -> FileVersion? {
        self.state.withLock { state in
            guard let facts = state.facts(of: inode), let size = facts.size, let content = facts.content
            else {
                return nil
            }
            return FileVersion(content: content, size: size, validFor: self.remaining(facts.sizeAsOf))
        }
    }

    /// A file's version, asking for its size if what is known is too old.
    ///
    /// - Throws: `.notFound` only if a listing asked for after the server's 404 does not have the name either.
    public func version(of inode: InodeNumber) async throws(RemoteError) -> FileVersion {
        if let version = self.freshVersion(of: inode) { return version }
        while true {
            guard let (parent, name) = self.location(of: inode), let path = self.path(of: inode) else {
                throw .notFound
            }
            do throws(RemoteError) {
                let size = try await self.probe(inode, name, in: parent)
                // Seen just now: true for this one question even if the time to live is 0 or a change of ours came
                // between.
                let known = self.knownVersion(of: inode)
                return known ?? FileVersion(content: self.makeContentID(), size: size, validFor: .zero)
            } catch .notFound {
                // Renamed meanwhile: it is asked for under the name that it has now.
                guard let now = self.path(of: inode), now != path else { throw .notFound }
            }
        }
    }

    private func probe(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber
    ) async throws(RemoteError) -> UInt64 {
        let result = await self.probes.run(inode) { await self.fetchSize(inode, name, in: parent) }
        guard let result else { throw .cancelled }
        return try result.get()
    }

    private func fetchSize(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber
    ) async -> Result<UInt64, RemoteError> {
        do { try await self.probePlaces.acquire() } catch { return .failure(.cancelled) }
        defer { self.probePlaces.release() }
        let asOf = self.now()
        let (path, epoch) = self.state.withLock { ($0.path(of: parent)?.appending(name), $0.epoch) }
        guard let path else { return .failure(.notFound) }
        do throws(RemoteError) {
            let size = try await self.remote.size(of: path)
            self.store(size, of: inode, name, in: parent, asOf: asOf, epoch: epoch)
            return .success(size)
        } catch .notFound {
            // Its directory was renamed meanwhile: the answer is about another path.
            guard self.state.withLock({ $0.path(of: parent)?.appending(name) }) == path else {
                return .failure(.notFound)
            }
            return .failure(await self.explainMissing(inode, name, in: parent))
        } catch {
            return .failure(error)
        }
    }

    /// The server knows no file of that name: only a fresh listing can say that it is absent.
    private func explainMissing(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber
    ) async -> RemoteError {
        do throws(RemoteError) {
            try await self.refresh(parent)
        } catch {
            return error
        }
        guard self.known(name, in: parent)?.inode == inode else { return .notFound }
        return .malformedAnswer("the server lists a file and says that it does not exist")
    }

    private func store(
        _ size: UInt64,
        of inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        asOf: ContinuousClock.Instant,
        epoch: UInt64
    ) {
        self.state.withLock { state in
            guard var entry = state.directories[parent]?[name], entry.inode == inode,
                entry.facts.epoch <= epoch
            else { return }
            if entry.facts.size != size || entry.facts.content == nil {
                // Times that a program set were those of the old content.
                if entry.facts.size != nil { state.touch(inode, at: .now()) }
                entry.facts.size = size
                entry.facts.content = state.makeContentID()
            }
            entry.facts.sizeAsOf = asOf
            state.update(parent) { $0[name] = entry }
            state.use(parent)
            state.evict()
        }
    }

    /// A program asked for a file's size: if it goes through the directory in order, the next ones are asked for too.
    public func noteSizeAsked(_ inode: InodeNumber) {
        guard let (parent, name) = self.location(of: inode) else { return }
        let next: [(FileName, InodeNumber)] = self.state.withLock { state in
            guard var sweep = state.sweeps[parent], let directory = state.directories[parent] else {
                return []
            }
            let index = directory.index(of: name)
            if !sweep.hasBegun, directory.firstFileIndex < index { return [] }
            let range = sweep.advance(to: index, count: directory.nameCount)
            state.sweeps[parent] = sweep
            return range.compactMap { index in
                guard let entry = directory.entry(at: index), entry.kind == .file, entry.isOnServer,
                    !self.isFresh(entry.facts.sizeAsOf)
                else { return nil }
                return (directory.name(at: index), entry.inode)
            }
        }
        for (name, inode) in next {
            Task {
                // Leaves some of all places to those who wait for a size.
                guard (try? await self.sweepPlaces.acquire()) != nil else { return }
                defer { self.sweepPlaces.release() }
                if self.freshVersion(ofEntry: name, inode, in: parent) { return }
                _ = try? await self.probe(inode, name, in: parent)
            }
        }
    }

    /// Whether the size of a name is known and fresh, or the name is not what it was.
    private func freshVersion(ofEntry name: FileName, _ inode: InodeNumber, in parent: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard let entry = state.directories[parent]?[name], entry.inode == inode else {
                return true
            }
            return self.isFresh(entry.facts.sizeAsOf)
        }
    }

    /// A program reads the directory and may ask for its children's sizes one by one.
    public func beginSweep(_ directory: InodeNumber) {
        self.state.withLock { $0.sweeps[directory, default: SizeSweep()].handleCount += 1 }
    }

    /// Ends ``beginSweep(_:)``.
    public func endSweep(_ directory: InodeNumber) {
        self.state.withLock { state in
            state.sweeps[directory]?.handleCount -= 1
            if state.sweeps[directory]?.handleCount == 0 { state.sweeps[directory] = nil }
        }
    }
}

/// Sees that a program stats a directory's children in listing order, and says how far to ask ahead.
struct SizeSweep {
    /// Open handles through which the directory was read: as long as there is one, a stat is likely followed by the
    /// next.
    var handleCount = 0
    /// Whether a stat of the first file was seen, so that others in order make a sweep.
    var hasBegun: Bool { self.last != nil }
    private var last: Int?
    private var reached = 0
    private var window = 0

    private static let initialWindow = 64
    /// Enough that as many as may be under way always are, between two stats of the program.
    private static let maximumWindow = 512

    /// Takes a stat of the child at an index into account.
    ///
    /// - Returns: The children to ask for now, end exclusive.
    mutating func advance(to index: Int, count: Int) -> Range<Int> {
        // Directories and names already known lie between two that are asked for.
        let isInOrder = self.last.map { index >= $0 && index <= $0 + Self.initialWindow } ?? true
        self.window = isInOrder ? min(max(Self.initialWindow, self.window * 2), Self.maximumWindow) : 0
        self.last = index
        if !isInOrder { self.reached = index + 1 }
        let start = max(self.reached, index + 1)
        let end = max(start, min(count, index + 1 + self.window))
        self.reached = end
        return min(start, count)..<max(min(start, count), min(end, count))
    }
}
