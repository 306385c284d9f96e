import Primitives
import RemoteAPI
import WireFormat

/// What a directory says of a name.
public enum NameState: Sendable {
    /// It is there.
    case present(InodeNumber, EntryKind, validFor: Duration)
    /// A listing no older than the time to live shows that it is not.
    case absent(validFor: Duration)
    /// The directory must be listed before anything can be said.
    case unknown
    /// The directory itself is gone, or is none.
    case noDirectory
}

extension Namespace {
    /// Looks a name up in what is known, without asking the service.
    public func peek(_ name: FileName, in parent: InodeNumber) -> NameState {
        self.state.withLock { state in
            guard let node = state.nodes[parent], node.kind == .directory, !node.isDetached else {
                return .noDirectory
            }
            guard let directory = state.directories[parent] else { return .unknown }
            state.use(parent)
            let isFresh = self.isFresh(directory.listedAsOf)
            if let entry = directory[name], entry.isHeld || isFresh {
                state.makeNode(of: entry, name, in: parent)
                return .present(
                    entry.inode,
                    entry.kind,
                    validFor: entry.isHeld ? self.timeToLive : self.remaining(directory.listedAsOf)
                )
            }
            return isFresh ? .absent(validFor: self.remaining(directory.listedAsOf)) : .unknown
        }
    }

    /// Looks a name up, listing its directory if what is known is too old.
    ///
    /// - Throws: `.notFound` if the directory itself is gone.
    public func resolve(_ name: FileName, in parent: InodeNumber) async throws(RemoteError) -> NameState {
        let known = self.peek(name, in: parent)
        guard case .unknown = known else { return known }
        guard self.beginHold(parent) else { return .noDirectory }
        defer { self.endHold(parent) }
        // Others may have listed it since.
        let wasListed = try await self.list(parent, onlyIfOld: true)
        var state = self.peek(name, in: parent)
        if !wasListed, case .unknown = state {
            try await self.refresh(parent)
            state = self.peek(name, in: parent)
        }
        guard case .unknown = state else { return state }
        // With a time to live of 0 the answer is true for this one question.
        guard let (inode, kind) = self.known(name, in: parent) else { return .absent(validFor: .zero) }
        return .present(inode, kind, validFor: .zero)
    }

    /// What was last known of a name, however long ago.
    ///
    /// Nothing is known of what is in a directory whose own number is not.
    public func known(_ name: FileName, in parent: InodeNumber) -> (inode: InodeNumber, kind: EntryKind)? {
        self.state.withLock { state in
            guard let entry = state.directories[parent]?[name], state.makeNode(of: entry, name, in: parent)
            else { return nil }
            return (entry.inode, entry.kind)
        }
    }

    /// Whether a directory's names are known and fresh.
    public func isListed(_ directory: InodeNumber) -> Bool {
        self.isListed(directory, within: self.timeToLive)
    }

    /// Whether a directory's names are known and were asked for within an age, and the time to live.
    public func isListed(_ directory: InodeNumber, within age: Duration) -> Bool {
        self.isListed(directory, after: self.now() - min(age, self.timeToLive))
    }

    /// Lists a directory again unless its names are fresh.
    public func ensureListed(
        _ directory: InodeNumber,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) {
        if !self.isListed(directory) { try await self.list(directory, onlyIfOld: true, urgency: urgency) }
    }

    /// Lists a directory again unless its names were asked for lately. A file that the service does not have after this
    /// was not there at some moment within the age, also if its name was made here since.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - age: How old what is known may be; no older than the time to live.
    /// - Throws: As ``refresh(_:urgency:)``.
    public func ensureListed(_ directory: InodeNumber, within age: Duration) async throws(RemoteError) {
        let earliest = self.now() - min(age, self.timeToLive)
        if self.isListed(directory, after: earliest) { return }
        // One that is under way may be of longer ago.
        await self.endListing(of: directory)
        if self.isListed(directory, after: earliest) { return }
        try await self.refresh(directory)
    }

    private func isListed(_ directory: InodeNumber, after earliest: ContinuousClock.Instant) -> Bool {
        self.state.withLock { state in
            guard let listedAsOf = state.directories[directory]?.listedAsOf else { return false }
            return listedAsOf > earliest
        }
    }

    /// Lists a directory again, whatever is known.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - urgency: Whether somebody waits for it.
    /// - Throws: `.notFound` if it is gone.
    public func refresh(
        _ directory: InodeNumber,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) {
        // Who does with an older one, and is joined, may have left it at that.
        while try await !self.list(directory, urgency: urgency) {}
    }

    /// Lists a directory, or joins who does.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - onlyIfOld: Whether that is left out if its names are fresh by now: others may have listed it since that was
    ///     last looked at.
    ///   - urgency: Whether somebody waits for it.
    /// - Returns: Whether it was listed.
    /// - Throws: As ``refresh(_:urgency:)``.
    @discardableResult
    func list(
        _ directory: InodeNumber,
        onlyIfOld: Bool = false,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) -> Bool {
        let result = await self.listings.run(directory, ahead: urgency.raiser, joined: urgency.alsoRaise) {
            if onlyIfOld, self.isListed(directory) { return .success(false) }
            return await self.fetchListing(directory, urgency).map { true }
        }
        guard let result else { throw .cancelled }
        return try result.get()
    }

    /// Lists a directory by a listing that nobody has asked for yet: one that is under way may be older than what is to
    /// be found out, and says nothing of what was changed here since.
    ///
    /// - Throws: As ``refresh(_:urgency:)``.
    public func refreshAnew(_ directory: InodeNumber) async throws(RemoteError) {
        await self.endListing(of: directory)
        try await self.refresh(directory)
    }

    /// Waits for the listing that is under way, if there is one.
    func endListing(of directory: InodeNumber) async {
        if let waiting = self.listings.join(directory) { _ = await self.listings.wait(waiting) }
    }

    /// How many names a directory is known to hold.
    public func nameCount(of directory: InodeNumber) -> Int {
        self.state.withLock { $0.directories[directory]?.liveCount ?? 0 }
    }

    /// Whether a directory was seen to hold nothing, not even names that cannot be shown.
    public func isKnownEmpty(_ directory: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard let known = state.directories[directory], known.listedAsOf != nil else { return false }
            return known.isEmpty && known.refusedNameCount == 0
        }
    }

    /// Whether a directory was seen to hold names that cannot be shown.
    public func holdsRefusedNames(_ directory: InodeNumber) -> Bool {
        self.state.withLock { ($0.directories[directory]?.refusedNameCount ?? 0) > 0 }
    }

    /// What is known of a directory's names is not believed any more.
    public func expireListing(_ directory: InodeNumber) {
        self.state.withLock { state in
            guard let known = state.directories[directory] else { return }
            state.directories[directory]?.listedAsOf = nil
            // One that is under way may be of before: it is asked for once more.
            state.directories[directory]?.expiredInFlight = known.flightCount > 0
        }
    }

    /// Hides the name under which an upload of ours may show in a listing, until it is told otherwise.
    ///
    /// - Returns: Whether the name could be formed.
    @discardableResult
    public func hideStagingName(of upload: UploadID, for name: FileName, in parent: InodeNumber) -> FileName?
    {
        guard let staging = FileName("\(name.string).\(upload.rawValue)") else { return nil }
        self.hide(staging, in: parent)
        return staging
    }

    /// Hides a name that is being made on the service and is not whole yet, until ``unhide(_:in:)``.
    public func hide(_ name: FileName, in parent: InodeNumber) {
        self.state.withLock { state in
            state.stagingNames[parent, default: []].insert(name)
            state.take(name, from: parent)
        }
    }

    /// Ends ``hide(_:in:)``: what is known under the name now stays, and listings show it again.
    public func unhide(_ name: FileName, in parent: InodeNumber) {
        self.state.withLock { $0.unhide(name, in: parent) }
    }

    /// The names that are hidden in a directory.
    public func hiddenNames(in directory: InodeNumber) -> Set<FileName> {
        self.state.withLock { $0.stagingNames[directory] ?? [] }
    }

    /// Ends the hiding, after the upload was completed.
    public func unhideStagingName(_ staging: FileName, in parent: InodeNumber) {
        self.state.withLock { state in
            state.take(staging, from: parent)
            state.unhide(staging, in: parent)
        }
    }
}

extension Namespace.State {
    /// Takes a name away, and from what has it.
    @discardableResult
    mutating func take(_ name: FileName, from parent: InodeNumber) -> Entry? {
        let entry = self.directories[parent]?[name]
        if let entry { self.forgetRemembered(name, entry, in: parent) }
        self.update(parent) { $0.remove(name) }
        if let entry { self.detachReplaced(entry) }
        return entry
    }

    fileprivate mutating func unhide(_ name: FileName, in parent: InodeNumber) {
        self.stagingNames[parent]?.remove(name)
        if self.stagingNames[parent]?.isEmpty == true { self.stagingNames[parent] = nil }
        // A listing that is under way may still bring what was there while it was hidden.
        self.update(parent) { $0.noteChange(of: name) }
    }

    /// Detaches what no longer has its name, with what is below it.
    mutating func detachReplaced(_ entry: Entry) {
        if let below = self.directories[entry.inode] {
            self.set(entry.inode, nil)
            below.forEach { self.detachReplaced($0) }
        }
        self.stagingNames[entry.inode] = nil
        if self.nodes[entry.inode] == nil {
            self.overrides[entry.inode] = nil
        } else {
            self.detach(entry.inode, entry.facts)
        }
    }
}
