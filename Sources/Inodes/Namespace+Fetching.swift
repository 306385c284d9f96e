import Primitives
import RemoteAPI
import WireFormat

// How a listing is asked for, and what becomes of the answer.

extension Namespace {
    /// Lists a directory, wherever it is.
    func fetchListing(
        _ directory: InodeNumber,
        _ urgency: RequestUrgency
    ) async -> Result<Void, RemoteError> {
        while true {
            guard let path = self.path(of: directory) else { return .failure(.notFound) }
            if let result = await self.fetchListing(directory, path, urgency) { return result }
        }
    }

    /// Lists a directory where it is; nothing if that has changed, or what is there was doubted: it is asked for anew then.
    private func fetchListing(
        _ directory: InodeNumber,
        _ path: RemotePath,
        _ urgency: RequestUrgency
    ) async -> Result<Void, RemoteError>? {
        let asOf = self.now()
        let isThere = self.state.withLock { state in
            guard state.path(of: directory) == path else { return false }
            state.make(directory) { $0.flightCount += 1 }
            return true
        }
        guard isThere else { return nil }
        defer { self.endFlight(of: directory) }
        let result: Result<Void, RemoteError>
        do throws(RemoteError) {
            let remembered = self.recalling(directory, at: path)
            let listing: RemoteListing
            do throws(RemoteError) {
                listing = try await self.remote.list(path, urgency: urgency)
            } catch .notFound {
                throw try await self.explainMissing(directory)
            }
            // wire-protocol.md, Directories: an empty listing proves nothing.
            if listing.entries.isEmpty { try await self.confirmDirectory(directory) }
            self.store(listing, try await self.recall(remembered), for: directory, at: path, asOf: asOf)
            // What may have been there before what was doubted since is no answer.
            if self.state.withLock({ $0.directories[directory]?.expiredInFlight == true }) { return nil }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        return self.path(of: directory) == path ? result : nil
    }

    /// Asks for what is remembered of a directory's names, unless it is in memory.
    private func recalling(
        _ directory: InodeNumber,
        at path: RemotePath
    ) -> OneShot<[FileName: RememberedAttributes]?>? {
        let (store, hasRecalled) = self.state.withLock { state in
            (state.store, state.directories[directory]?.hasRecalled == true)
        }
        if hasRecalled { return nil }
        let remembered = OneShot<[FileName: RememberedAttributes]?>()
        Task { remembered.resolve(await store.attributes(in: path)) }
        return remembered
    }

    /// Waits for what is remembered of a directory's names: without it they would be shown, and remembered from then on,
    /// as if nothing had been set of them.
    ///
    /// - Returns: Nothing if that is in memory.
    /// - Throws: `.unavailable` if the disk does not tell in time: it may hang for ever.
    private func recall(
        _ remembered: OneShot<[FileName: RememberedAttributes]?>?
    ) async throws(RemoteError) -> [FileName: RememberedAttributes]? {
        guard let remembered else { return nil }
        let end = ContinuousClock.now + self.recallLimit
        let limit = Task {
            // Ends early where it is not needed any more; in steps, as a sleep that is cut short takes memory until its end.
            while case let rest = end - .now, rest > .zero {
                do { try await Task.sleep(for: min(rest, .seconds(1))) } catch { return }
            }
            remembered.resolve(nil)
        }
        defer { limit.cancel() }
        guard let answer = await remembered.wait() else { throw .cancelled }
        guard let answer else {
            throw .unavailable("the local disk does not tell which modes, owners and times were set")
        }
        return answer
    }

    /// A listing that was under way is not any more.
    private func endFlight(of directory: InodeNumber) {
        self.ahead.withLock { ahead in
            // A walk which is still to come to it drops it in the end.
            let isAwaited = ahead.walks.contains { $0.awaits(directory) }
            self.state.withLock { state in
                var isDropDue = false
                state.update(directory) { directory in
                    guard directory.endFlight() else { return }
                    isDropDue = directory.isDropDue && !isAwaited
                    directory.isDropDue = false
                }
                state.dropIfBlank(directory)
                if isDropDue { state.dropIfUnused(directory) }
            }
        }
    }

    /// The server knows no directory of that path: only its parent's fresh listing can say that it is gone.
    private func explainMissing(_ directory: InodeNumber) async throws(RemoteError) -> RemoteError {
        guard directory != .root else {
            return .malformedAnswer("the server says that the filesystem's root does not exist")
        }
        guard let (parent, name) = self.location(of: directory) else { return .notFound }
        try await self.refreshAnew(parent)
        guard self.known(name, in: parent)?.inode == directory else { return .notFound }
        return .malformedAnswer("the server lists a directory and says that it does not exist")
    }

    /// Asks the parent whether a directory exists, unless that was just asked.
    private func confirmDirectory(_ directory: InodeNumber) async throws(RemoteError) {
        guard directory != .root else { return }
        guard let (parent, name) = self.location(of: directory) else { throw .notFound }
        guard case .present(directory, .directory, _) = try await self.resolve(name, in: parent) else {
            throw .notFound
        }
    }

    private func store(
        _ listing: RemoteListing,
        _ remembered: [FileName: RememberedAttributes]?,
        for inode: InodeNumber,
        at path: RemotePath,
        asOf: ContinuousClock.Instant
    ) {
        let listed = NameTable(listing)
        self.ahead.withLock { $0.listings.note(listed.byteCount) }
        let logsRefusals: Bool = self.state.withLock { state in
            // A directory that went away, or elsewhere, while it was listed is not brought back.
            guard state.path(of: inode) == path, let old = state.directories[inode] else { return false }
            let hidden = state.stagingNames[inode] ?? []
            var (directory, replaced) = old.replaced(
                by: listed,
                without: hidden,
                makeInode: { state.makeInode() }
            )
            if let remembered {
                state.recall(remembered, into: &directory, before: old, at: path, hidden: hidden)
            }
            directory.refusedNameCount = listing.refusedNameCount
            directory.listedAsOf = directory.expiredInFlight ? nil : asOf
            state.set(inode, directory)
            for (name, entry) in replaced {
                state.forgetRemembered(name, entry, in: inode)
                state.detachReplaced(entry)
                if entry.isOnServer { self.whenOutdated(path.appending(name), entry.kind) }
            }
            // Where bytes wait the name stays; what the service had under it is gone all the same.
            for (name, entry) in old.others where entry.isHeld && entry.isOnServer {
                guard let now = directory[name], now.inode == entry.inode, !now.isOnServer else { continue }
                self.whenOutdated(path.appending(name), .file)
            }
            state.use(inode)
            state.evict()
            defer { if listing.refusedNameCount > 0 { state.refusedNamesWereLogged = true } }
            return listing.refusedNameCount > 0 && !state.refusedNamesWereLogged
        }
        if logsRefusals {
            self.logger.warning(
                "the server lists names that no Linux directory can hold; they are left out",
                metadata: ["count": "\(listing.refusedNameCount)"]
            )
        }
    }
}
