import Inodes
import Primitives
import Synchronization
import WireFormat

/// An upload as some services list it while it is under way: as `NAME.ID`.
struct ListedUpload: Sendable {
    let id: UploadID
    /// What it is to become.
    let file: RemotePath
    let directory: InodeNumber
    let name: FileName
    let path: RemotePath

    /// Names an upload; nothing if no listing could show it.
    init?(_ id: UploadID, of file: RemotePath, in directory: InodeNumber) {
        guard let name = file.name, let listed = FileName("\(name).\(id)") else { return nil }
        (self.id, self.file, self.directory) = (id, file, directory)
        (self.name, self.path) = (listed, file.parent.appending(listed))
    }
}

/// The uploads that were begun by this mount, or gone on with, and are not known to be the file yet.
final class BegunUploads: Sendable {
    private struct Entry {
        let upload: ListedUpload
        /// Who sends parts of it.
        var userCount = 0
        /// Whether it was to become the file, and the answer to that is not known.
        var mayBeFile = false

        /// Whether nobody is at it, and nobody can say that it did not become the file.
        var isIdle: Bool { self.userCount == 0 && !self.mayBeFile }
    }

    private struct Ending {
        let directory: InodeNumber
        let task: Task<Void, Never>
    }

    private struct State {
        var entries: [UploadID: Entry] = [:]
        /// What is still on the way of uploads that were dropped.
        var endings: [UInt64: Ending] = [:]
        var nextEnding: UInt64 = 0
        /// Whether somebody looks, now and then, for idle ones.
        var isLookedFor = false
        var whenIdle: @Sendable () -> Void = {}
    }

    private let state = Mutex(State())
    /// Held alone by whoever deletes idle ones.
    let deletion = AsyncGate()

    /// Has somebody told that nobody is at an upload any more, who may come back to it; see ``idle``.
    func whenIdle(_ act: @escaping @Sendable () -> Void) { self.state.withLock { $0.whenIdle = act } }

    /// An upload begins, or goes on; ``leave(_:mayBeFile:)`` is due.
    func use(_ upload: ListedUpload) {
        self.state.withLock { $0.entries[upload.id, default: Entry(upload: upload)].userCount += 1 }
    }

    /// Ends ``use(_:)``; `mayBeFile` where the call that makes it the file was sent.
    func leave(_ upload: UploadID, mayBeFile: Bool = false) {
        let act: (@Sendable () -> Void)? = self.state.withLock { state in
            guard var entry = state.entries[upload] else { return nil }
            entry.userCount -= 1
            entry.mayBeFile = entry.mayBeFile || mayBeFile
            state.entries[upload] = entry
            return entry.isIdle ? state.whenIdle : nil
        }
        act?()
    }

    /// Nothing is left of an upload but what it became.
    func remove(_ upload: UploadID) { self.state.withLock { $0.entries[upload] = nil } }

    /// Leaves an upload once what is on its way of it has ended.
    ///
    /// - Parameters:
    ///   - directory: Whose listing may show it.
    ///   - upload: Waits for that; its id, if it has begun.
    func leave(in directory: InodeNumber, after upload: @escaping @Sendable () async -> UploadID?) {
        self.state.withLock { state in
            let number = state.nextEnding
            state.nextEnding += 1
            let task = Task {
                if let upload = await upload() { self.leave(upload) }
                self.state.withLock { $0.endings[number] = nil }
            }
            state.endings[number] = Ending(directory: directory, task: task)
        }
    }

    /// Waits until what was dropped by now has ended.
    ///
    /// - Parameter directory: What one directory may show alone; nothing for all.
    /// - Returns: Whether there was anything.
    @discardableResult
    func waitUntilEnded(in directory: InodeNumber? = nil) async -> Bool {
        let endings = self.state.withLock { state in
            state.endings.values.filter { directory == nil || $0.directory == directory }
        }
        for ending in endings { await ending.task.value }
        return !endings.isEmpty
    }

    /// Those that nobody is at, but for such as may be the file.
    var idle: [ListedUpload] {
        self.state.withLock { $0.entries.values.filter(\.isIdle).map(\.upload) }
    }

    /// Whether the caller is to look for idle ones from now on, until ``endSearch()``.
    func beginSearch() -> Bool {
        self.state.withLock { state in
            defer { state.isLookedFor = true }
            return !state.isLookedFor
        }
    }

    /// Whether there are none any more, so that the search ends.
    func endSearch() -> Bool {
        self.state.withLock { state in
            state.isLookedFor = state.entries.values.contains(where: \.isIdle)
            return !state.isLookedFor
        }
    }
}
