import BlockCaching
import Glibc
import Inodes
import Primitives
import RemoteAPI
import Synchronization
import SystemPackage
import TestKit
import Testing
import Transfers
import WireFormat

@testable import Staging
@testable import VFS

/// A filesystem over a service in memory, with what the kernel would do with it.
final class Mount: Sendable {
    let remote: InMemoryRemote
    let faulty: FaultyRemote
    let clock = ManualClock()
    let log = CapturedLog()
    let directory: TemporaryDirectory
    let fileSystem: FileSystem
    /// How often the kernel was told of each number, and has not forgotten it.
    private let lookups = Mutex<[InodeNumber: UInt64]>([:])

    /// The process that does everything unless another one is named.
    static let process: Int32 = 100

    init(
        _ behaviour: InMemoryRemote.Behaviour = .strict,
        timeToLive: Duration = .seconds(10),
        listingBudget: Int = 32 << 20,
        lanes: UploadLanes = UploadLanes(),
        writes: WriteOptions = WriteOptions(),
        over remote: InMemoryRemote? = nil,
        in directory: TemporaryDirectory = TemporaryDirectory(),
        boot: String = Journal.currentBoot(),
        extentLimit: Int = 16_384,
        blockBudget: Int = 64 << 20,
        blockTime: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        syncFile: @escaping @Sendable (Int32) -> Int32 = { fdatasync($0) },
        checkFile: @escaping @Sendable (Int32) -> Int32 = { _ in 0 }
    ) throws {
        self.remote = remote ?? InMemoryRemote(behaviour)
        self.faulty = FaultyRemote(self.remote)
        self.directory = directory
        let clock = self.clock
        let staging = try StagingStore(
            in: CacheDirectory(
                in: FilePath(directory.path).appending("cache"),
                for: try #require(FilesystemID("f-1"))
            ),
            recovers: true,
            makeRoom: { _ in false },
            boot: boot,
            syncFile: syncFile,
            checkFile: checkFile,
            extentLimit: extentLimit,
            logger: self.log.logger
        )
        let namespace = Namespace(
            remote: self.faulty,
            timeToLive: timeToLive,
            listingBudget: listingBudget,
            attributes: JournaledAttributes(staging.journal, logger: self.log.logger),
            defaults: DefaultAttributes(
                userID: 0,
                groupID: 0,
                fileMode: 0o644,
                directoryMode: 0o755,
                time: FileTime(seconds: 0, nanoseconds: 0)
            ),
            now: { clock.now },
            logger: self.log.logger
        )
        self.fileSystem = FileSystem(
            remote: self.faulty,
            namespace: namespace,
            cache: BlockCache(remote: self.faulty, memoryBudget: blockBudget, now: blockTime),
            staging: staging,
            options: writes,
            lanes: lanes,
            logger: self.log.logger
        )
    }

    /// Waits until the background has nothing left to do.
    func waitUntilUploaded() async {
        while self.fileSystem.unsent.fileCount > 0 { await Task.yield() }
    }

    /// Waits until something is so, 120 s at most: all tests share two threads on a small machine.
    ///
    /// - Returns: Whether it is.
    func comes(_ isSo: () -> Bool) async -> Bool {
        let deadline = ContinuousClock.now + .seconds(120)
        while !isSo(), ContinuousClock.now < deadline { await Task.yield() }
        return isSo()
    }

    /// Ends a mount as its process ends, and begins the next one with its cache directory and service. No handle of the
    /// old one may be left.
    static func remount(_ mount: inout Mount, writes: WriteOptions? = nil) async throws {
        let (remote, directory) = (mount.remote, mount.directory)
        let writes = writes ?? mount.fileSystem.options
        // What was queued for the journal is written by the time.
        mount.fileSystem.staging.finish()
        mount.fileSystem.queue.end()
        mount = try Mount()
        // The lock of the cache directory goes with the last task that still has to do with the old one.
        while true {
            do {
                mount = try Mount(writes: writes, over: remote, in: directory)
                return
            } catch let error as CacheDirectoryError where error.description.contains("another mount") {
                await Task.yield()
            }
        }
    }

    /// The mount that follows if this one is killed now, with copies of what it leaves here and on the service; it has
    /// taken up what there is to take up.
    func killed() async throws -> Mount {
        await self.fileSystem.staging.journal.written()
        let next = try Mount(
            writes: self.fileSystem.options,
            over: self.remote.copy(),
            in: self.directory.copy()
        )
        try await next.fileSystem.recover()
        try await next.fileSystem.begin(isReadOnly: false)
        return next
    }

    /// What the service has once the mount that follows a kill has uploaded all.
    func leftByCrash() async throws -> [String: [UInt8]] {
        let next = try await self.killed()
        #expect(await next.fileSystem.drain().isEmpty)
        let left = next.remote.tree.map { ($0, next.remote.bytes(of: $0) ?? []) }
        return Dictionary(uniqueKeysWithValues: left)
    }

    /// Lets everything that is known grow too old.
    func expire() { self.clock.advance(by: self.fileSystem.namespace.timeToLive) }

    /// What the kernel does when its memory is short: it forgets all that no handle keeps.
    func forgetAll() {
        let lookups = self.lookups.withLock { lookups in
            defer { lookups = [:] }
            return lookups
        }
        for (inode, count) in lookups { self.fileSystem.forget(inode, count: count) }
    }

    private func note(_ reply: LookupReply) {
        guard case .entry(let attributes, _, _) = reply else { return }
        self.lookups.withLock { $0[attributes.inode, default: 0] += 1 }
    }

    /// The files on the local disk that are staged now.
    var staged: [String] { self.directory.names(in: "cache/f-1/staging") }
    var recovered: [String] { self.directory.names(in: "cache/f-1/recovered") }

    // MARK: Names

    func lookup(_ parent: InodeNumber, _ name: FileName) async throws(FileSystemError) -> InodeNumber {
        let bytes = Array(name.string.utf8)
        let reply: LookupReply
        switch try self.fileSystem.lookupNow(parent, bytes) {
        case .now(let known): reply = known
        case .later: reply = try await self.fileSystem.lookup(parent, bytes)
        }
        self.note(reply)
        guard case .entry(let attributes, _, _) = reply else { throw .noSuchFile }
        return attributes.inode
    }

    func inode(_ text: String) async throws(FileSystemError) -> InodeNumber {
        var inode = InodeNumber.root
        for name in path(text).components { inode = try await self.lookup(inode, name) }
        return inode
    }

    /// The kernel forgets a number.
    func forget(_ inode: InodeNumber) { self.fileSystem.forget(inode, count: .max) }

    private func place(_ text: String) async throws(FileSystemError) -> (InodeNumber, [UInt8]) {
        let path = path(text)
        let parent = try await self.inode(path.parent.description)
        return (parent, Array((path.name?.string ?? "").utf8))
    }

    func stat(_ text: String) async throws(FileSystemError) -> FileAttributes {
        let inode = try await self.inode(text)
        self.fileSystem.noteStat(of: inode)
        return try await self.fileSystem.getattr(inode).0
    }

    func size(_ text: String) async throws(FileSystemError) -> Int { Int(try await self.stat(text).size) }

    func exists(_ text: String) async throws(FileSystemError) -> Bool {
        do throws(FileSystemError) {
            _ = try await self.inode(text)
            return true
        } catch .noSuchFile {
            return false
        }
    }

    func list(_ text: String = "") async throws(FileSystemError) -> [String] {
        let inode = try await self.inode(text)
        let handle: DirectoryHandle
        if let now = try self.fileSystem.opendirNow(inode) {
            handle = now
        } else {
            handle = try await self.fileSystem.opendir(inode)
        }
        defer { self.fileSystem.releasedir(handle) }
        return self.fileSystem.readdir(handle, from: 0).map(\.name.string)
    }

    func mkdir(_ text: String) async throws(FileSystemError) {
        let (parent, name) = try await self.place(text)
        self.note(try await self.fileSystem.mkdir(parent, name, attributes: AttributeChange()))
    }

    func rmdir(_ text: String) async throws(FileSystemError) {
        let (parent, name) = try await self.place(text)
        try await self.fileSystem.rmdir(parent, name)
    }

    func unlink(_ text: String) async throws(FileSystemError) {
        let (parent, name) = try await self.place(text)
        try await self.fileSystem.unlink(parent, name)
    }

    func rename(_ old: String, _ new: String, replaces: Bool = true) async throws(FileSystemError) {
        let (oldParent, oldName) = try await self.place(old)
        let (newParent, newName) = try await self.place(new)
        try await self.fileSystem.rename(oldParent, oldName, to: newParent, newName, replaces: replaces)
    }

    func truncate(_ text: String, to size: UInt64) async throws(FileSystemError) {
        try await self.fileSystem.truncate(try await self.inode(text), to: size, through: nil)
    }

    // MARK: Files

    func create(
        _ text: String,
        isExclusive: Bool = false,
        by process: Int32 = Mount.process
    ) async throws(FileSystemError) -> FileHandle {
        let (parent, name) = try await self.place(text)
        let (reply, handle) = try await self.fileSystem.create(
            parent,
            name,
            mode: OpenMode(reads: true, writes: true, truncates: true, isExclusive: isExclusive),
            attributes: AttributeChange(),
            by: process
        )
        self.note(reply)
        return handle
    }

    func open(
        _ text: String,
        writes: Bool = false,
        truncates: Bool = false,
        by process: Int32 = Mount.process
    ) async throws(FileSystemError) -> FileHandle {
        try await self.fileSystem.open(
            try await self.inode(text),
            OpenMode(reads: true, writes: writes, truncates: truncates),
            by: process
        ).0
    }

    func write(
        _ handle: FileHandle,
        _ bytes: [UInt8],
        at offset: Int = 0,
        by process: Int32 = Mount.process
    ) async throws(FileSystemError) {
        let buffer = ByteBuffer(count: bytes.count)
        buffer.uninitialized.copyBytes(from: bytes)
        let isDone = try self.fileSystem.writeNow(handle, buffer.bytes, at: UInt64(offset), by: process)
        if isDone { return }
        let held = try self.fileSystem.hold(buffer.bytes)
        try await self.fileSystem.write(handle, held, at: UInt64(offset), by: process)
    }

    func read(_ handle: FileHandle, _ range: Range<Int> = 0..<1 << 20) async throws(FileSystemError)
        -> [UInt8]
    {
        let range = UInt64(range.lowerBound)..<UInt64(range.upperBound)
        let result: Result<[ByteSlice], FileSystemError> = await withCheckedContinuation { continuation in
            do throws(FileSystemError) {
                let outcome = try self.fileSystem.read(handle, range) { continuation.resume(returning: $0) }
                if case .ready(let slices) = outcome { continuation.resume(returning: .success(slices)) }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get().flatMap { Array($0.bytes) }
    }

    /// close(2) by the last who has it open.
    func close(_ handle: FileHandle, by process: Int32 = Mount.process) async throws(FileSystemError) {
        defer { self.fileSystem.release(handle) }
        try await self.fileSystem.flush(handle, by: process)
    }

    /// What `cp` does: makes or empties a file, writes and closes it.
    func put(_ text: String, _ bytes: [UInt8]) async throws(FileSystemError) {
        let handle = try await self.create(text)
        do throws(FileSystemError) {
            if !bytes.isEmpty { try await self.write(handle, bytes) }
        } catch {
            self.fileSystem.release(handle)
            throw error
        }
        try await self.close(handle)
    }

    /// What `cat` does.
    func get(_ text: String) async throws(FileSystemError) -> [UInt8] {
        let handle = try await self.open(text)
        defer { self.fileSystem.release(handle) }
        var bytes: [UInt8] = []
        while true {
            let more = try await self.read(handle, bytes.count..<bytes.count + (1 << 20))
            if more.isEmpty { return bytes }
            bytes += more
        }
    }
}

extension WriteOptions {
    /// Write-back, where nothing is uploaded before somebody waits for all: temporary names are what waits longest.
    static let waiting = WriteOptions(
        mode: .writeBack,
        temporaryNames: TemporaryNames(["*"]),
        temporaryDelay: .seconds(3600)
    )
}

/// Runs something and gives what it threw; nothing if it succeeded.
func failure<Value>(of body: () async throws(FileSystemError) -> Value) async -> FileSystemError? {
    do throws(FileSystemError) {
        _ = try await body()
        return nil
    } catch {
        return error
    }
}
