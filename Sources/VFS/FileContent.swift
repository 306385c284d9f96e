import BlockCaching
import Inodes
import Primitives
import Staging
import Synchronization
import SystemPackage

/// The bytes of one file that is open or has unsent bytes: all its handles share one of these.
final class FileContent: Sendable {
    struct State {
        var handleCount = 0
        /// What was written here. Clean after an upload, when it still saves downloads.
        var staged: StagedFile?
        /// The version that the bytes missing from `staged` are read from.
        var base: FileVersion?
        /// Its name is gone: reads and writes go on, nothing of it is uploaded.
        var isUnlinked = false
        /// Why the last upload failed, until one succeeds.
        var lastError: FileSystemError?
    }

    let inode: InodeNumber
    let state = Mutex(State())
    /// Held alone by whoever uploads, renames or unlinks the file.
    let transfer = AsyncGate()
    /// Shared by writers for the time of a write; held alone by an upload that writers have outrun before.
    let writers = AsyncGate()

    init(_ inode: InodeNumber) {
        self.inode = inode
    }

    var staged: StagedFile? { self.state.withLock { $0.staged } }

    var isDirty: Bool { self.state.withLock { $0.staged?.isDirty == true && !$0.isUnlinked } }

    var isUnlinked: Bool { self.state.withLock { $0.isUnlinked } }

    var hasHandles: Bool { self.state.withLock { $0.handleCount > 0 } }

    /// The staged file if it holds what the file is now: it is dirty, or the service has no newer version.
    func currentStaged(known: FileVersion?) -> (file: StagedFile, base: FileVersion?)? {
        self.state.withLock { state in
            guard let staged = state.staged else { return nil }
            if !staged.isDirty, !state.isUnlinked, let known, known.content != state.base?.content {
                state.staged = nil
                state.base = nil
                return nil
            }
            return (staged, state.base)
        }
    }
}

/// One open(2) of a file.
public final class FileHandle: Sendable {
    struct Writers {
        /// Processes that wrote through this handle since it was last flushed; 0 stands for an unknown one (mmap).
        var processes: Set<Int32> = []
    }

    let content: FileContent
    /// The process that opened it; 0 if it is not known.
    let opener: Int32
    /// Whether it was opened for writing.
    let isWritable: Bool
    let writers = Mutex(Writers())
    let readAhead = Mutex(ReadAheadWindow())

    init(_ content: FileContent, opener: Int32, isWritable: Bool) {
        self.content = content
        self.opener = opener
        self.isWritable = isWritable
    }
}

/// One opendir(3).
public final class DirectoryHandle: Sendable {
    let inode: InodeNumber
    /// What the directory held when it was read from the start: an offset is an index into it, so that names that come
    /// and go meanwhile neither repeat nor hide others.
    let snapshot = Mutex<[Namespace.Dirent]>([])

    init(_ inode: InodeNumber) {
        self.inode = inode
    }
}
