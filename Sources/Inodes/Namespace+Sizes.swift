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
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - age: Within so long will do too.
    /// - Returns: The version; nothing if it is not known, or older.
    public func freshVersion(of inode: InodeNumber, orWithin age: Duration = .zero) -> FileVersion? {
        self.state.withLock { state in
            guard let facts = state.facts(of: inode), let size = facts.size, let content = facts.content,
                self.isSizeFresh(facts.sizeAsOf, orWithin: age) || state.nodes[inode]?.isDetached == true
            else { return nil }
            return FileVersion(content: content, size: size, validFor: self.remainingOfSize(facts.sizeAsOf))
        }
    }

    /// A file's version as last seen, however long ago.
    public func knownVersion(of inode: InodeNumber) -> FileVersion? {
        self.state.withLock { state in
            guard let facts = state.facts(of: inode), let size = facts.size, let content = facts.content
            else {
                return nil
            }
            return FileVersion(content: content, size: size, validFor: self.remainingOfSize(facts.sizeAsOf))
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

    /// Asks for a file's size, or joins who does.
    func probe(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) -> UInt64 {
        let result = await self.probes.run(inode, ahead: urgency.raiser, joined: urgency.alsoRaise) {
            await self.fetchSize(inode, name, in: parent, urgency)
        }
        guard let result else { throw .cancelled }
        return try result.get()
    }

    private func fetchSize(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        _ urgency: RequestUrgency
    ) async -> Result<UInt64, RemoteError> {
        var round = 0
        while true {
            // Another flight may have landed since this one was asked for.
            if let version = self.freshVersion(of: inode) { return .success(version.size) }
            round += 1
            var question = SizeQuestion(asOf: self.now(), isLast: round == Self.maximumRoundCount)
            let path = self.state.withLock { state in
                question.epoch = state.epoch
                question.content = state.directories[parent]?[name]?.facts.content
                return state.path(of: parent)?.appending(name)
            }
            guard let path else { return .failure(.notFound) }
            let result = await self.fetchSize(inode, name, in: parent, at: path, asOf: question.asOf, urgency)
            guard case .success(let size) = result else { return result }
            if self.store(size, of: inode, name, in: parent, question) { return result }
        }
    }

    /// So often a size is asked for while changes in its directory leave no pause.
    private static let maximumRoundCount = 4

    private func fetchSize(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        at path: RemotePath,
        asOf: ContinuousClock.Instant,
        _ urgency: RequestUrgency
    ) async -> Result<UInt64, RemoteError> {
        do throws(RemoteError) {
            return .success(try await self.remote.size(of: path, urgency: urgency))
        } catch .notFound {
            // Its directory was renamed meanwhile: the answer is about another path.
            guard self.state.withLock({ $0.path(of: parent)?.appending(name) }) == path else {
                return .failure(.notFound)
            }
            return .failure(await self.explainMissing(inode, name, in: parent, asOf: asOf))
        } catch {
            return .failure(error)
        }
    }

    /// The server knows no file of that name: only a listing asked for since then can say that it is absent.
    private func explainMissing(
        _ inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        asOf: ContinuousClock.Instant
    ) async -> RemoteError {
        await self.endListing(of: parent)
        // Where a whole tree was removed, the first of its sizes that are missing has asked for all of them.
        let isGone = self.state.withLock { state in
            guard let directory = state.directories[parent], let listedAsOf = directory.listedAsOf else {
                return false
            }
            return listedAsOf >= asOf && directory[name]?.inode != inode
        }
        if isGone { return .notFound }
        do throws(RemoteError) {
            try await self.refresh(parent)
        } catch {
            return error
        }
        guard self.known(name, in: parent)?.inode == inode else { return .notFound }
        return .malformedAnswer("the server lists a file and says that it does not exist")
    }

    /// Takes in what the server says of a file's size.
    ///
    /// - Returns: Whether that is settled: not if it was asked for before a change of ours to this file or to another
    ///   one of its directory, and nothing newer is known. When it is asked for the last time, it is: then, if the file
    ///   itself is as it was, what the server says holds for this one question.
    private func store(
        _ size: UInt64,
        of inode: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        _ question: SizeQuestion
    ) -> Bool {
        self.state.withLock { state in
            // Of what waits here the service may have got some by now, and we not have heard of it.
            guard var entry = state.directories[parent]?[name], entry.inode == inode, !entry.isHeld else {
                return true
            }
            let isForOnce = entry.facts.epoch > question.epoch
            if isForOnce {
                if let asOf = entry.facts.sizeAsOf, asOf >= question.asOf { return true }
                guard question.isLast, entry.facts.content == question.content else { return question.isLast }
            }
            if entry.facts.size != size || entry.facts.content == nil {
                // What a program set was of the file that was there before.
                if let known = entry.facts.size ?? state.overrides[inode]?.size, known != size {
                    let path = state.path(of: parent)?.appending(name)
                    state.forgetOutdated(inode, at: path, seen: .now())
                    // It may be as long again one day, with other bytes.
                    if let path { self.whenOutdated(path, .file) }
                }
                entry.facts.size = size
                entry.facts.content = state.makeContentID(at: self.now())
            } else if let content = entry.facts.content,
                state.ages.isOverAge(content, at: self.now())
            {
                // What may have been replaced by as many bytes is read anew.
                entry.facts.content = state.makeContentID(at: self.now())
            }
            entry.facts.sizeAsOf = isForOnce ? nil : question.asOf
            state.update(parent) { $0[name] = entry }
            state.use(parent)
            state.evict()
            return true
        }
    }
}

/// What was known when a file's size was asked for.
private struct SizeQuestion {
    /// When that was.
    let asOf: ContinuousClock.Instant
    /// Whether it is not asked for again.
    let isLast: Bool
    /// The number of our last change of any file.
    var epoch: UInt64 = 0
    /// The file's version.
    var content: ContentID?
}
