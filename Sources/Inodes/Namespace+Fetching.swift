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
            let result = await self.fetchListing(directory, path, urgency)
            // Renamed meanwhile, what was asked for the old path says nothing.
            guard self.path(of: directory) == path else { continue }
            switch result {
            case .success(let isExpired): if !isExpired { return .success(()) }
            case .failure(let error): return .failure(error)
            }
        }
    }

    /// - Returns: Whether what it says is too old by now.
    private func fetchListing(
        _ directory: InodeNumber,
        _ path: RemotePath,
        _ urgency: RequestUrgency
    ) async -> Result<Bool, RemoteError> {
        let asOf = self.now()
        let isThere = self.state.withLock { state in
            guard state.path(of: directory) == path else { return false }
            state.make(directory) { $0.flightCount += 1 }
            return true
        }
        guard isThere else { return .failure(.notFound) }
        defer {
            self.state.withLock { state in
                state.update(directory) { $0.endFlight() }
                state.dropIfBlank(directory)
            }
        }
        do throws(RemoteError) {
            let (store, hasRecalled) = self.state.withLock { state in
                (state.store, state.directories[directory]?.hasRecalled == true)
            }
            async let remembered = hasRecalled ? nil : store.attributes(in: path)
            let listing: RemoteListing
            do throws(RemoteError) {
                listing = try await self.remote.list(path, urgency: urgency)
            } catch .notFound {
                throw try await self.explainMissing(directory)
            }
            // wire-protocol.md, Directories: an empty listing proves nothing.
            if listing.entries.isEmpty { try await self.confirmDirectory(directory) }
            self.store(listing, await remembered, for: directory, at: path, asOf: asOf)
            return .success(self.state.withLock { $0.directories[directory]?.expiredInFlight == true })
        } catch {
            return .failure(error)
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
