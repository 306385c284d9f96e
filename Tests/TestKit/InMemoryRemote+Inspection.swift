import RemoteAPI
import WireFormat

// What a test does behind the driver's back, and what it looks at afterwards.

extension InMemoryRemote {
    /// Puts a file there, with the directories above it.
    public func put(_ file: String, _ bytes: [UInt8]) {
        self.state.withLock { state in
            let file = path(file)
            state.files[file] = bytes
            var parent = file.parent
            while !parent.isRoot {
                state.directories.insert(parent)
                parent = parent.parent
            }
        }
    }

    /// Makes a directory, with those above it.
    public func makeDirectory(_ directory: String) {
        self.state.withLock { state in
            var directory = path(directory)
            while !directory.isRoot {
                state.directories.insert(directory)
                directory = directory.parent
            }
        }
    }

    /// Makes a directory of so many empty files, `file-0` and so on; they can be listed and asked for their sizes.
    public func makeWideDirectory(_ directory: String, count: Int) {
        self.makeDirectory(directory)
        self.state.withLock { $0.wideDirectories[path(directory)] = count }
    }

    /// Another service with what this one has now, where nothing is held.
    public func copy() -> InMemoryRemote {
        let copy = InMemoryRemote(self.behaviour)
        let (files, directories, uploads, count) = self.state.withLock {
            ($0.files, $0.directories, $0.uploads, $0.uploadCount)
        }
        copy.state.withLock { state in
            (state.files, state.directories, state.uploads) = (files, directories, uploads)
            state.uploadCount = count
        }
        return copy
    }

    /// The next read that comes lacks so many bytes at its end, as if the file were shorter.
    public func shortenNextRead(by count: Int) { self.state.withLock { $0.nextReadLacks = count } }

    /// Takes a file or a whole tree away.
    public func remove(_ text: String) {
        self.state.withLock { $0.remove(path(text)) }
    }

    /// Puts so many names into a directory that no Linux directory can hold.
    public func putRefusedNames(in directory: String, count: Int) {
        self.state.withLock { $0.refusedNames[path(directory)] = count }
    }

    /// How many such names a directory still has.
    public func refusedNameCount(in directory: String) -> Int {
        self.state.withLock { $0.refusedNames[path(directory), default: 0] }
    }

    /// A file's bytes; nothing if it is not there.
    public func bytes(of file: String) -> [UInt8]? {
        self.state.withLock { $0.files[path(file)] }
    }

    /// All there is, in order; directories end with a slash.
    public var tree: [String] {
        self.state.withLock { state in
            let directories = state.directories.filter { !$0.isRoot }.map { "\($0)/" }
            return (directories + state.files.keys.map(\.description)).sorted()
        }
    }

    /// Uploads that were begun and not completed.
    public var uploadCount: Int { self.state.withLock { $0.uploads.count } }

    /// Every call since the last ``forgetCalls()``, a line each, such as `read a/b 0-10`; the root is empty.
    public var calls: [String] { self.state.withLock { $0.calls } }

    /// What ``calls`` says, less its lines of a kind that start with a word.
    public func calls(without word: String) -> [String] {
        self.calls.filter { !$0.hasPrefix(word) }
    }

    /// The urgency of the last call with that line of ``calls``; nothing if there was none.
    public func urgency(of call: String) -> RequestUrgency? { self.state.withLock { $0.urgencies[call] } }

    /// How many calls of a kind there were since the last ``forgetCalls()``.
    public func count(_ kind: CallKind) -> Int { self.state.withLock { $0.counts[kind, default: 0] } }

    /// The most calls of a kind that were under way at once since the last ``forgetCalls()``.
    public func inFlightMaximum(_ kind: CallKind) -> Int {
        self.state.withLock { $0.inFlightMaximum[kind, default: 0] }
    }

    /// How many bytes were read since the last ``forgetCalls()``.
    public var readByteCount: Int { self.state.withLock { $0.readByteCount } }

    /// Whether any call is under way.
    public var isBusy: Bool { self.state.withLock { $0.inFlight.values.contains { $0 > 0 } } }

    /// What each completion was told of the file it replaces.
    public var previousSizes: [UInt64?] { self.state.withLock { $0.previousSizes } }

    /// Begins counting anew.
    public func forgetCalls() {
        self.state.withLock { state in
            state.calls = []
            state.urgencies = [:]
            state.counts = [:]
            state.readByteCount = 0
            state.inFlightMaximum = [:]
            state.previousSizes = []
        }
    }
}
