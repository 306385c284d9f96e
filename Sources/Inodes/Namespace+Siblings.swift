import Primitives
import RemoteAPI
import WireFormat

/// A file or directory as the directory above has it, whether or not the kernel ever asked for it.
public struct Sibling: Hashable, Sendable {
    /// The directory above.
    public let directory: InodeNumber
    /// Its name there.
    public let name: FileName
    /// Its number.
    public let inode: InodeNumber

    /// Names a file or directory.
    public init(directory: InodeNumber, name: FileName, inode: InodeNumber) {
        self.directory = directory
        self.name = name
        self.inode = inode
    }
}

/// Where a file's bytes were when they were asked for, and after which change of ours.
public struct ContentMark: Hashable, Sendable {
    /// The file's path.
    public let path: RemotePath
    /// The number of our last change of any file.
    let epoch: UInt64
}

// What whoever fetches contents ahead must know: which files come next, and which version their bytes belong to.
extension Namespace {
    /// The clock by which what is known grows old.
    public var instant: ContinuousClock.Instant { self.now() }

    /// A file by its number; nothing if it has no name, or is none.
    public func sibling(_ inode: InodeNumber) -> Sibling? {
        self.state.withLock { state in
            guard let node = state.nodes[inode], node.kind == .file, !node.isDetached else { return nil }
            return Sibling(directory: node.parent, name: node.name, inode: inode)
        }
    }

    /// The files of a directory that the service has, in listing order, as far as they stand nearby.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - name: The name after which they begin; nothing for the first one.
    ///   - limit: How many at most.
    /// - Returns: Those among them of which no bytes wait here.
    public func files(in directory: InodeNumber, after name: FileName?, limit: Int) -> [Sibling] {
        self.state.withLock { state in
            guard let known = state.directories[directory] else { return [] }
            var files: [Sibling] = []
            var index = name.map(known.index(after:)) ?? known.firstFileIndex
            let end = min(known.nameCount, index + min(limit, known.nameCount) + Self.searchedCount)
            while index < end, files.count < limit {
                if let entry = known.entry(at: index), entry.kind == .file, entry.isPlain {
                    let name = known.name(at: index)
                    files.append(Sibling(directory: directory, name: name, inode: entry.inode))
                }
                index += 1
            }
            return files
        }
    }

    /// The files right before and right after one in listing order; nothing at the directory's ends, or if there is none
    /// nearby.
    public func neighbours(of file: Sibling) -> (before: InodeNumber?, after: InodeNumber?) {
        self.state.withLock { state in
            guard let known = state.directories[file.directory] else { return (nil, nil) }
            func number(_ index: Int) -> InodeNumber? {
                known.entry(at: index).flatMap { $0.kind == .file ? $0.inode : nil }
            }
            let index = known.index(of: file.name)
            let before = (max(0, index - Self.searchedCount)..<index).lazy.reversed().compactMap(number).first
            let following = known.indices(after: file.name, limit: Self.searchedCount)
            let after = following.lazy.compactMap(number).first
            return (before, after)
        }
    }

    /// Whether a directory is where a walk goes on that is through with another one: a child of it, or the directory
    /// that comes after it, or after one above it, in listing order.
    public func isNext(_ directory: InodeNumber, after other: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard directory != .root, let parent = state.nodes[directory]?.parent else { return false }
            var done = other
            while done != parent {
                guard done != .root, let node = state.nodes[done], !node.isDetached else { return false }
                if node.parent == parent {
                    guard let known = state.directories[parent] else { return false }
                    let rest = known.indices(after: node.name, limit: Self.searchedCount)
                    return rest.lazy.compactMap(known.entry(at:)).first { $0.kind == .directory }?.inode
                        == directory
                }
                done = node.parent
            }
            return true
        }
    }

    /// Whether a file's size was asked for, and has not come in.
    public func isAskingSize(of inode: InodeNumber) -> Bool { self.probes.isUnderWay(inode) }

    /// Whether a program has the directory open and may be going through the sizes of its files.
    public func isSwept(_ directory: InodeNumber) -> Bool {
        self.ahead.withLock { ahead in
            ahead.sweeps[directory].map { $0.handleCount > 0 || $0.hasBegun } ?? false
        }
    }

    /// Whether no size of a file was ever seen.
    public func isNeverSeen(_ file: Sibling) -> Bool {
        self.state.withLock { $0.entry(of: file)?.facts.content == nil }
    }

    /// A file's version, if its size was asked for within the time to live.
    public func freshVersion(of file: Sibling) -> FileVersion? {
        self.state.withLock { state in
            guard let facts = state.entry(of: file)?.facts, self.isSizeFresh(facts.sizeAsOf) else {
                return nil
            }
            return self.version(facts)
        }
    }

    /// A file's version, asking for its size if what is known is too old; nothing if the file changed meanwhile.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - urgency: Whether somebody waits for it.
    /// - Returns: The version.
    /// - Throws: What kept the size from being known.
    public func version(
        of file: Sibling,
        urgency: RequestUrgency = .waitedFor
    ) async throws(RemoteError) -> FileVersion? {
        if let version = self.freshVersion(of: file) { return version }
        guard self.state.withLock({ $0.entry(of: file) }) != nil else { return nil }
        _ = try await self.probe(file.inode, file.name, in: file.directory, urgency: urgency)
        return self.state.withLock { state in state.entry(of: file).flatMap { self.version($0.facts) } }
    }

    private func version(_ facts: FileFacts) -> FileVersion? {
        guard let size = facts.size, let content = facts.content else { return nil }
        return FileVersion(content: content, size: size, validFor: self.remainingOfSize(facts.sizeAsOf))
    }

    /// The service was seen not to have a version any more, however long its file is now: it is asked for the size
    /// before the next use, and what that says is another version. What is known to be newer stays.
    public func endVersion(_ content: ContentID, of file: Sibling) {
        self.state.withLock { state in
            guard var entry = state.entry(of: file), entry.facts.content == content else { return }
            entry.facts.forgetContent(state.makeEpoch())
            state.update(file.directory) { $0[file.name] = entry }
            if let path = state.path(of: file.directory)?.appending(file.name) {
                self.whenOutdated(path, .file)
            }
        }
    }

    /// Where a file's bytes are asked for; nothing if the service does not have it, or newer bytes wait here.
    public func mark(of file: Sibling) -> ContentMark? {
        self.state.withLock { $0.mark(of: file) }
    }

    /// Whether bytes that were asked for at a mark may belong to a version: it is the present one, and nothing was
    /// changed or moved here since.
    public func isCurrent(_ content: ContentID, of file: Sibling, since mark: ContentMark) -> Bool {
        self.state.withLock { state in
            guard let entry = state.entry(of: file), state.mark(of: file)?.path == mark.path else {
                return false
            }
            return entry.facts.content == content && entry.facts.epoch <= mark.epoch
        }
    }
}

extension Namespace.State {
    fileprivate func entry(of file: Sibling) -> Entry? {
        guard let entry = self.directories[file.directory]?[file.name], entry.inode == file.inode
        else { return nil }
        return entry
    }

    fileprivate func mark(of file: Sibling) -> ContentMark? {
        guard self.entry(of: file)?.isPlain == true,
            let path = self.path(of: file.directory)?.appending(file.name)
        else { return nil }
        return ContentMark(path: path, epoch: self.epoch)
    }
}

extension Directory {
    /// Where the names after one begin.
    func index(after name: FileName) -> Int {
        let index = self.index(of: name)
        return index < self.nameCount && self.name(at: index) == name ? index + 1 : index
    }

    /// Where the names after one are, so many at most.
    fileprivate func indices(after name: FileName, limit: Int) -> Range<Int> {
        let start = self.index(after: name)
        return start..<min(self.nameCount, start + limit)
    }
}
