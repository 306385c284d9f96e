import Primitives
import RemoteAPI
import WireFormat

// What a directory holds, by its place in the order of the names.

/// A file of a directory, as what asks ahead of a program needs it.
struct FileEntry {
    let name: FileName
    let inode: InodeNumber
}

extension Namespace {
    /// How many directories before the one just opened the last one may be for the two to be in order.
    private static let orderTolerance = 8
    /// How many names are looked at to find what stands beside a file or directory: with a lock held, at each open.
    static let searchedCount = 1024

    /// The first directories in a directory, in order: as many as a walk is to know at a time.
    func subdirectories(of directory: InodeNumber) -> [Sibling] {
        self.state.withLock { $0.subdirectories(of: directory) }
    }

    /// The same, if the listing is fresh, for a directory that is about to be listed ahead: it gets its node, without
    /// which it has no path.
    func freshSubdirectories(of place: Sibling) -> [Sibling]? {
        self.state.withLock { state in
            guard let entry = state.directories[place.directory]?[place.name], entry.inode == place.inode,
                state.makeNode(of: entry, place.name, in: place.directory)
            else { return [] }
            guard self.isFresh(state.directories[place.inode]?.listedAsOf) else { return nil }
            return state.subdirectories(of: place.inode)
        }
    }

    /// The directories that follow one that a program opened, if it may be going through all of them: it opened the
    /// first, or one that comes shortly after the one opened last.
    ///
    /// - Parameters:
    ///   - directory: The directory.
    ///   - name: Its name.
    ///   - parent: The one it is in.
    ///   - last: The one opened last there.
    /// - Returns: Those that follow next, in order, and whether the program left none out.
    func followers(
        of directory: InodeNumber,
        _ name: FileName,
        in parent: InodeNumber,
        last: InodeNumber?
    ) -> (directories: [Sibling], isNext: Bool)? {
        self.state.withLock { state in
            guard let names = state.directories[parent] else { return nil }
            let index = names.index(of: name)
            guard index < names.nameCount, names.entry(at: index)?.inode == directory else { return nil }
            var before: [InodeNumber] = []
            var start = index
            while start > 0, index - start < Self.searchedCount, before.count < Self.orderTolerance {
                start -= 1
                if let entry = names.entry(at: start), entry.kind == .directory { before.append(entry.inode) }
            }
            let place = before.firstIndex { $0 == last }
            guard place != nil || start == 0 && before.isEmpty else { return nil }
            let followers = state.subdirectories(of: parent, from: index + 1)
            return (followers, place ?? 0 == 0)
        }
    }

    /// The directories that follow one beside it next, in order.
    func followers(of place: Sibling) -> [Sibling] {
        self.state.withLock { state in
            guard let start = state.directories[place.directory]?.index(after: place.name) else { return [] }
            return state.subdirectories(of: place.directory, from: start)
        }
    }

    /// The first file in a range of a directory's names whose size should be asked for.
    func fileWithoutSize(
        in directory: InodeNumber,
        _ range: Range<Int>
    ) -> (index: Int, file: FileEntry)? {
        self.state.withLock { state in
            guard let names = state.directories[directory] else { return nil }
            for index in range.clamped(to: 0..<names.nameCount) {
                guard let entry = names.entry(at: index), entry.kind == .file, entry.isPlain,
                    !self.isSizeFresh(entry.facts.sizeAsOf)
                else { continue }
                return (index, FileEntry(name: names.name(at: index), inode: entry.inode))
            }
            return nil
        }
    }

    /// The files of a directory whose bytes the service has, from an index into its names on.
    func files(in directory: InodeNumber, from start: Int, limit: Int) -> [(
        directory: InodeNumber, dirent: Dirent
    )] {
        self.state.withLock { state in
            guard let names = state.directories[directory] else { return [] }
            var files: [(InodeNumber, Dirent)] = []
            for index in start..<max(start, names.nameCount) where files.count < limit {
                guard let entry = names.entry(at: index), entry.kind == .file, entry.isOnServer else {
                    continue
                }
                files.append(
                    (directory, Dirent(name: names.name(at: index), inode: entry.inode, kind: .file))
                )
            }
            return files
        }
    }

    /// Where a file stands among its directory's names, and whether it is the first file there.
    func place(of name: FileName, in directory: InodeNumber) -> (index: Int, isFirst: Bool)? {
        self.state.withLock { state in
            guard let names = state.directories[directory] else { return nil }
            let index = names.index(of: name)
            return (index, names.firstFileIndex >= index)
        }
    }

    /// Directories that nobody is expected to open any more are forgotten, unless the kernel knows them.
    func forgetUnused(_ directories: [InodeNumber]) {
        guard !directories.isEmpty else { return }
        self.state.withLock { state in
            for directory in directories { state.dropIfUnused(directory) }
        }
    }
}

extension Namespace.State {
    /// The next directories in a directory, in order, from an index into its names on: as many as a walk is to know at a
    /// time.
    fileprivate func subdirectories(
        of directory: InodeNumber,
        from start: Int = 0
    ) -> [Sibling] {
        guard let names = self.directories[directory] else { return [] }
        var found: [Sibling] = []
        for index in start..<max(start, names.nameCount) {
            if found.count == Walk.followerCount { break }
            guard let entry = names.entry(at: index), entry.kind == .directory else { continue }
            found.append(Sibling(directory: directory, name: names.name(at: index), inode: entry.inode))
        }
        return found
    }
}
