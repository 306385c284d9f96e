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
    /// The directories in a directory, in order, each with its node.
    func subdirectories(of directory: InodeNumber) -> [InodeNumber] {
        self.state.withLock { $0.subdirectories(of: directory) }
    }

    /// The same, if the listing is fresh.
    func freshSubdirectories(of directory: InodeNumber) -> [InodeNumber]? {
        self.state.withLock { state in
            guard self.isFresh(state.directories[directory]?.listedAsOf) else { return nil }
            return state.subdirectories(of: directory)
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
                guard let entry = names.entry(at: index), entry.kind == .file, entry.isOnServer,
                    !self.isFresh(entry.facts.sizeAsOf)
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
    mutating func subdirectories(of directory: InodeNumber) -> [InodeNumber] {
        guard let names = self.directories[directory] else { return [] }
        return (0..<names.nameCount).compactMap { index in
            guard let entry = names.entry(at: index), entry.kind == .directory,
                // The kernel may never have asked for it: its path is needed all the same.
                self.makeNode(of: entry, names.name(at: index), in: directory)
            else { return nil }
            return entry.inode
        }
    }
}
