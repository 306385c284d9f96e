import Dispatch
import Inodes
import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite(
    "Opening a file while its name goes: its old bytes whole, or the name is looked up again",
    .timeLimit(.minutes(5))
)
struct OpenRaceTests {
    private static let old = pattern(1000, from: 50)
    private static let new = pattern(300)

    /// A filesystem with a file `new` and a file `f`, whose sizes are known, and the number of `f`.
    private static func mount(timeToLive: Duration = .seconds(10)) async throws -> (Mount, InodeNumber) {
        let mount = try Mount(timeToLive: timeToLive)
        mount.remote.put("f", Self.old)
        mount.remote.put("new", Self.new)
        _ = try await mount.size("new")
        _ = try await mount.size("f")
        return (mount, try await mount.inode("f"))
    }

    /// Takes the name `f` from what has it.
    enum Change: CaseIterable {
        case unlink, replace

        func make(on mount: Mount) async throws(FileSystemError) {
            switch self {
            case .unlink: try await mount.unlink("f")
            case .replace: try await mount.rename("new", "f")
            }
        }

        /// The call by which the service takes the bytes away.
        var call: CallKind { self == .unlink ? .delete : .completeUpload }

        func expectResult(on mount: Mount) async throws {
            switch self {
            case .unlink: #expect(try await !mount.exists("f"))
            case .replace: #expect(try await mount.get("f") == OpenRaceTests.new)
            }
        }
    }

    private static func open(
        _ mount: Mount,
        _ inode: InodeNumber,
        writes: Bool = false,
        truncates: Bool = false
    ) async throws(FileSystemError) -> FileHandle {
        let mode = OpenMode(reads: true, writes: writes, truncates: truncates)
        return try await mount.fileSystem.open(inode, mode, by: Mount.process).0
    }

    @Test(
        "Whoever looked a name up and opens it when it is gone is told so by open(2), not by read(2)",
        arguments: Change.allCases
    )
    func openedAfter(change: Change) async throws {
        let (mount, inode) = try await Self.mount()
        try await change.make(on: mount)
        for (writes, truncates) in [(false, false), (true, false), (true, true)] {
            let met = await failure { () throws(FileSystemError) in
                try await Self.open(mount, inode, writes: writes, truncates: truncates)
            }
            #expect(met == .stale)
        }
        try await change.expectResult(on: mount)
    }

    @Test("An empty file is not emptied when its name is gone")
    func emptiedAfter() async throws {
        let mount = try Mount()
        mount.remote.put("f", [])
        #expect(try await mount.size("f") == 0)
        let inode = try await mount.inode("f")
        try await mount.unlink("f")
        let met = await failure { () throws(FileSystemError) in
            try await Self.open(mount, inode, writes: true, truncates: true)
        }
        #expect(met == .stale)
    }

    @Test("Whoever looked a name up and asks for its size when it is gone is told to look again")
    func askedAfter() async throws {
        let mount = try Mount()
        mount.remote.put("f", Self.old)
        mount.remote.put("new", Self.new)
        let inode = try await mount.inode("f")
        try await mount.rename("new", "f")
        let met = await failure { () throws(FileSystemError) in try await mount.fileSystem.getattr(inode) }
        #expect(met == .stale)
        #expect(try await mount.size("f") == Self.new.count)
    }

    @Test("A file that is opened while another one is uploaded over it keeps its bytes, and nobody waits")
    func openedDuringUpload() async throws {
        let (mount, inode) = try await Self.mount()
        let hold = mount.remote.hold(.putPart)
        let renaming = Task { try await mount.rename("new", "f") }
        await hold.reached()
        let handle = try await Self.open(mount, inode, writes: true)
        hold.release()
        try await renaming.value
        #expect(try await mount.read(handle) == Self.old)
        try await mount.write(handle, [255])
        #expect(try await mount.read(handle) == [255] + Self.old.dropFirst())
        try await mount.close(handle)
        #expect(try await mount.get("f") == Self.new)
        #expect(mount.remote.bytes(of: "f") == Self.new)
    }

    @Test(
        "Opening a file in the moment when the service takes it away waits, and then the name is looked up again",
        arguments: Change.allCases
    )
    func openedDuringChange(change: Change) async throws {
        let (mount, inode) = try await Self.mount()
        let hold = mount.remote.hold(change.call)
        let changing = Task { try await change.make(on: mount) }
        await hold.reached()
        #expect(try mount.fileSystem.openNow(inode, OpenMode(reads: true, writes: false), by: 0) == nil)
        let opening = Task.immediate { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await Self.open(mount, inode) }
        }
        hold.release()
        try await changing.value
        #expect(await opening.value == .stale)
        try await change.expectResult(on: mount)
    }

    @Test(
        "Opening a file that the service then does not take away gives the file",
        arguments: Change.allCases
    )
    func openedDuringFailure(change: Change) async throws {
        let (mount, inode) = try await Self.mount()
        let hold = mount.remote.hold(change.call)
        let changing = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await change.make(on: mount) }
        }
        await hold.reached()
        let opening = Task.immediate { try await Self.open(mount, inode, writes: true) }
        changing.cancel()
        #expect(await changing.value == .interrupted)
        hold.release()
        let handle = try await opening.value
        #expect(try await mount.read(handle) == Self.old)
        try await mount.write(handle, [255])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "f") == [255] + Self.old.dropFirst())
    }

    @Test(
        "Who reads a file that is replaced keeps its bytes and its size, though the size is asked for in that moment"
    )
    func sizeAskedDuringChange() async throws {
        let (mount, inode) = try await Self.mount()
        let handle = try await Self.open(mount, inode)
        let hold = mount.remote.hold(.completeUpload, .beforeAnswering)
        let renaming = Task { try await mount.rename("new", "f") }
        await hold.reached()
        mount.expire()
        #expect(try await mount.fileSystem.getattr(inode).0.size == UInt64(Self.old.count))
        #expect(try await mount.read(handle) == Self.old)
        hold.release()
        try await renaming.value
        #expect(try await mount.read(handle) == Self.old)
        mount.fileSystem.release(handle)
        #expect(try await mount.get("f") == Self.new)
    }

    @Test("Who reads a file goes on when another one cannot be uploaded over it")
    func readAfterFailure() async throws {
        let (mount, inode) = try await Self.mount()
        let handle = try await Self.open(mount, inode)
        mount.faulty.fail(.completeUpload, with: .unavailable("x"))
        let met = await failure { () throws(FileSystemError) in try await mount.rename("new", "f") }
        #expect(met == .remote(.unavailable("x")))
        #expect(try await mount.read(handle) == Self.old)
        mount.fileSystem.release(handle)
    }

    @Test(
        "Who reads a file that is only replaced here, its successor not being uploaded yet, keeps its bytes"
    )
    func replacedByUnsent() async throws {
        let (mount, inode) = try await Self.mount()
        let unsent = try await mount.create("unsent")
        try await mount.write(unsent, [1])
        let handle = try await Self.open(mount, inode)
        try await mount.rename("unsent", "f")
        #expect(try await mount.read(handle) == Self.old)
        mount.fileSystem.release(handle)
        try await mount.close(unsent)
        #expect(mount.remote.bytes(of: "f") == [1])
    }

    @Test("An unlinked file that is open for reading can be opened again by its number, as /proc/PID/fd does")
    func openedAgain() async throws {
        let (mount, inode) = try await Self.mount()
        let first = try await Self.open(mount, inode)
        try await mount.unlink("f")
        let second = try await Self.open(mount, inode)
        mount.fileSystem.release(first)
        #expect(try await mount.read(second) == Self.old)
        mount.fileSystem.release(second)
        mount.forget(inode)
        #expect(mount.staged.isEmpty)
    }

    @Test(
        "A file that is here whole can be opened until the kernel knows that its name is gone",
        arguments: Change.allCases
    )
    func openedBeforeForgotten(change: Change) async throws {
        let (mount, inode) = try await Self.mount()
        try await mount.put("f", Self.old + [1])
        try await change.make(on: mount)
        let handle = try await Self.open(mount, inode)
        #expect(try await mount.read(handle) == Self.old + [1])
        mount.forget(inode)
        #expect(try await mount.read(handle) == Self.old + [1])
        mount.fileSystem.release(handle)
        let met = await failure { () throws(FileSystemError) in try await Self.open(mount, inode) }
        #expect(met == .stale)
        #expect(mount.staged.isEmpty)
        try await change.expectResult(on: mount)
    }

    @Test("Who writes to a file goes on while another file takes its place here and the local disk is slow")
    func writesWhileReplaced() async throws {
        let mount = try Mount(.strict, writes: .waiting)
        // Nothing of it was promised: else the journal is waited for before anything is changed, too.
        let writer = try await mount.create("target")
        defer { mount.fileSystem.release(writer) }
        try await mount.write(writer, pattern(10))
        let inode = writer.content.inode
        try await mount.put("new", pattern(20))
        let gate = DispatchSemaphore(value: 0)
        let slowDisk = Task { try await mount.fileSystem.staging.journal.read { _ in gate.wait() } }
        let rename = Task { try await mount.rename("new", "target") }
        while mount.fileSystem.namespace.location(of: inode) != nil { await Task.yield() }
        let met = await failure { () throws(FileSystemError) in try await mount.write(writer, [1], at: 10) }
        gate.signal()
        #expect(met == nil)
        try await rename.value
        try await slowDisk.value
        #expect(try await mount.get("target") == pattern(20))
    }
}
