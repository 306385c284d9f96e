import Inodes
import Primitives
import RemoteAPI
import Staging
import Synchronization
import SystemPackage
import WireFormat

/// The rename of a directory that is under way: what the journal is told of it, and how far it is.
final class DirectoryMove: Sendable {
    private struct Progress {
        /// What is made and copied; of one that goes on with an earlier one alone.
        var copied: [RemotePath: UInt64?]?
        /// Copies that were to be made files, by their paths with their sizes in bytes, of which nothing is known since.
        var unknown: [RemotePath: UInt64] = [:]
        var isDeleting = false
        /// What is to be copied, or deleted.
        var total: DirectorySize
        var fileCount = 0
        var byteCount: UInt64 = 0
    }

    let from: RemotePath
    let to: RemotePath
    /// Whether an earlier mount began it.
    let isResumed: Bool
    /// The directories below which nobody else changes anything meanwhile; of one that goes on with an earlier one alone.
    let held: Set<InodeNumber>
    private let id: Int64
    private let journal: Journal
    private let tell: @Sendable (Int64, String?) -> Void
    private let progress: Mutex<Progress>

    /// Begins one.
    ///
    /// - Parameters:
    ///   - journal: Where it is noted.
    ///   - from: The old path.
    ///   - to: The new path.
    ///   - total: What is to be copied.
    ///   - tell: Told how far it is, by its number, in words; nothing when it is over.
    init(
        _ journal: Journal,
        from: RemotePath,
        to: RemotePath,
        total: DirectorySize,
        tell: @escaping @Sendable (Int64, String?) -> Void
    ) {
        self.id = journal.addMove(.directory, from: from, to: to)
        (self.from, self.to, self.isResumed, self.held) = (from, to, false, [])
        (self.journal, self.tell) = (journal, tell)
        self.progress = Mutex(Progress(total: total))
        self.show { _ in }
    }

    /// Goes on with one.
    init(
        _ journal: Journal,
        resuming move: Journal.Move,
        holding held: Set<InodeNumber>,
        tell: @escaping @Sendable (Int64, String?) -> Void
    ) {
        self.id = move.id
        (self.from, self.to, self.isResumed, self.held) = (move.source, move.target, true, held)
        (self.journal, self.tell) = (journal, tell)
        self.progress = Mutex(
            Progress(copied: move.copied, isDeleting: move.stage == .deleting, total: DirectorySize())
        )
        self.show { _ in }
    }

    /// It is known how much there is to do.
    func didMeasure(_ total: DirectorySize) { self.show { $0.total = total } }

    /// What is at the new place, each path with its size in bytes, nothing for a directory; of one that goes on with an
    /// earlier one alone.
    var copied: [RemotePath: UInt64?]? { self.progress.withLock { $0.copied } }

    /// Waits until the journal has what was noted for good.
    func commit() async throws(FileSystemError) {
        do throws(Errno) { try await self.journal.commit() } catch { throw .local(error) }
    }

    /// How many files are copied, or deleted, since the last ``restart()``.
    var fileCount: Int { self.progress.withLock { $0.fileCount } }

    /// Copying begins, once more if it failed.
    func restart() {
        self.show { ($0.fileCount, $0.byteCount) = (0, 0) }
    }

    /// A directory is about to be made at the new place: a later mount takes it for ours.
    func willMake(_ path: RemotePath) {
        self.journal.noteCopied(path, size: nil, in: self.id)
        self.progress.withLock { $0.copied?[path] = .some(nil) }
    }

    /// Whether an earlier attempt made a directory at the new place.
    func wasMade(_ path: RemotePath) -> Bool { self.progress.withLock { $0.copied?[path] != nil } }

    /// Whether an earlier attempt copied a file of that size.
    func wasCopied(_ path: RemotePath, size: UInt64) -> Bool {
        self.progress.withLock { $0.copied?[path] == .some(.some(size)) }
    }

    /// A file is not what an earlier attempt copied, or is not going to be: should this one end before it is copied anew,
    /// the next one does not take the old copy for it.
    func willCopyAnew(_ path: RemotePath) {
        guard self.wasMade(path) else { return }
        self.journal.forgetCopied(path, in: self.id)
        self.progress.withLock { $0.copied?[path] = nil }
    }

    /// A copy is about to be made the file: whatever is heard of that, it may be there.
    func willComplete(_ path: RemotePath, size: UInt64) { self.progress.withLock { $0.unknown[path] = size } }

    /// A copy is not the file for certain; `size` is that of one before, in bytes, of which nothing is known either.
    func didNotComplete(_ path: RemotePath, before size: UInt64?) {
        self.progress.withLock { $0.unknown[path] = size }
    }

    /// Copies that may be there though nobody has heard so, by their paths with their sizes in bytes.
    var unknown: [RemotePath: UInt64] { self.progress.withLock { $0.unknown } }

    /// A file is whole at the new place.
    func didCopy(_ path: RemotePath, size: UInt64) {
        self.journal.noteCopied(path, size: size, in: self.id)
        self.show { progress in
            progress.unknown[path] = nil
            progress.copied?[path] = size
            progress.fileCount += 1
            progress.byteCount += size
        }
    }

    /// All is copied: what is at the old place is deleted from now on.
    func willDelete() {
        self.journal.advanceMove(self.id, to: .deleting)
        self.show { ($0.isDeleting, $0.fileCount, $0.byteCount) = (true, 0, 0) }
    }

    /// A file is gone from the old place.
    func didDelete(size: UInt64) {
        self.show { progress in
            progress.fileCount += 1
            progress.byteCount += size
        }
    }

    /// Carries it out. Once that has ended, done or given up, no later mount goes on with it, also after a power failure:
    /// by then there may be other files of the old names.
    func ending(_ body: () async throws(FileSystemError) -> Void) async throws(FileSystemError) {
        let result: Result<Void, FileSystemError>
        do throws(FileSystemError) { result = .success(try await body()) } catch { result = .failure(error) }
        self.journal.finishMove(self.id)
        // What cannot be written is said in the log, and tried again; the rename is over all the same.
        try? await self.commit()
        self.tell(self.id, nil)
        try result.get()
    }

    private func show(_ change: (inout Progress) -> Void) {
        let progress = self.progress.withLock { progress in
            change(&progress)
            return progress
        }
        let step = progress.isDeleting ? "deleting at the old place" : "copying"
        self.tell(
            self.id,
            "\(self.from) to \(self.to): \(step), \(progress.fileCount) of \(progress.total.fileCount) files, "
                + "\(progress.byteCount) of \(progress.total.byteCount) bytes"
        )
    }
}

/// What is below a directory.
struct DirectorySize: Sendable, Hashable {
    /// How many files the service has of it.
    var fileCount = 0
    /// How many bytes they have.
    var byteCount: UInt64 = 0
}

/// A directory of which something was copied to its new place, and no more than that: only this is deleted at the old
/// one, or taken back at the new one.
final class CopiedDirectory {
    /// The directory at the old place; nothing where only its path is known.
    let inode: InodeNumber?
    let from: RemotePath
    let to: RemotePath
    /// Whether it was made at the new place: one that was there and empty stays when all is taken back.
    let isMade: Bool
    /// The one that was there; see ``FileSystem/hideCopies(_:in:)``.
    let replaced: InodeNumber?
    /// The names that are hidden in that.
    var hiddenNames: Set<FileName> = []
    var files: [(name: FileName, size: UInt64)] = []
    var directories: [CopiedDirectory] = []

    init(
        _ inode: InodeNumber?,
        from: RemotePath,
        to: RemotePath,
        isMade: Bool,
        replacing replaced: InodeNumber? = nil
    ) {
        self.inode = inode
        self.replaced = replaced
        self.from = from
        self.to = to
        self.isMade = isMade
    }

    /// What the journal says was copied of a directory.
    ///
    /// - Parameters:
    ///   - root: The directory.
    ///   - copied: What the journal says.
    ///   - known: What a directory is known to hold under a name.
    convenience init(
        _ root: CopiedDirectory,
        _ copied: [RemotePath: UInt64?],
        _ known: (FileName, InodeNumber) -> (inode: InodeNumber, kind: EntryKind)?
    ) {
        self.init(root.inode, from: root.from, to: root.to, isMade: root.isMade)
        var directories: [RemotePath: CopiedDirectory] = [self.to: self]
        for (path, size) in copied.sorted(by: { $0.key.components.count < $1.key.components.count }) {
            guard let name = path.name, let parent = directories[path.parent], path != self.to else {
                continue
            }
            if let size {
                parent.files.append((name, size))
            } else {
                let found = parent.inode.flatMap { known(name, $0) }
                let below = CopiedDirectory(
                    found?.kind == .directory ? found?.inode : nil,
                    from: parent.from.appending(name),
                    to: path,
                    isMade: true
                )
                parent.directories.append(below)
                directories[path] = below
            }
        }
    }

    /// Nothing of it counts as copied yet.
    func begin() { (self.files, self.directories) = ([], []) }

    /// Adds what may be there too, by its path at the new place with its size in bytes.
    func add(_ unknown: [RemotePath: UInt64]) {
        guard !unknown.isEmpty else { return }
        for (path, size) in unknown where path.parent == self.to {
            guard let name = path.name, !self.files.contains(where: { $0.name == name }) else { continue }
            self.files.append((name, size))
        }
        for below in self.directories { below.add(unknown) }
    }

    /// What is in it and below.
    var total: DirectorySize {
        var total = self.directories.map(\.total).reduce(into: DirectorySize()) { sum, below in
            sum.fileCount += below.fileCount
            sum.byteCount += below.byteCount
        }
        total.fileCount += self.files.count
        total.byteCount += self.files.reduce(0) { $0 + $1.size }
        return total
    }
}
