import Primitives
import SystemPackage
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Writes to a staged file that is taken away meanwhile", .timeLimit(.minutes(5)))
struct TakenAwayTests {
    private static let old = pattern(300_000)

    /// A filesystem with a file `f` of which one byte waits here.
    private static func mount() async throws -> (Mount, FileHandle) {
        let mount = try Mount(.strict, writes: .waiting)
        mount.remote.put("f", Self.old)
        let handle = try await mount.open("f", writes: true)
        try await mount.write(handle, [255])
        try await mount.fileSystem.fsync(handle)
        return (mount, handle)
    }

    @Test("A file is not gone for who needs more of it here, though another process has emptied it since")
    func emptied() async throws {
        let (mount, handle) = try await Self.mount()
        let staged = try #require(handle.content.staged)
        mount.fileSystem.release(try await mount.open("f", writes: true, truncates: true))
        #expect(handle.content.staged !== staged)
        try await mount.fileSystem.bringHere([0..<staged.size], staged, of: handle.content)
        mount.fileSystem.release(handle)
    }

    @Test("A write is made, though what waits of its file is put where a person finds it in the same moment")
    func givenUp() async throws {
        let (mount, handle) = try await Self.mount()
        let content = handle.content
        let one = ByteBuffer(count: 1)
        one.uninitialized.copyBytes(from: [7])
        try await mount.fileSystem.modify(content) { staged throws(Errno) in
            mount.fileSystem.giveUp(content, staged, "a test")
            try staged.write(one.bytes, at: 1)
            return true
        }
        var expected = Self.old
        expected[1] = 7
        #expect(try await mount.read(handle) == expected)
        #expect(mount.recovered.count == 1)
        // Of what was put there.
        let met = await failure { () throws(FileSystemError) in try await mount.close(handle) }
        #expect(met == .stale)
        #expect(await mount.fileSystem.drain(tellsOfKept: false).isEmpty)
        #expect(mount.remote.bytes(of: "f") == expected)
    }
}
