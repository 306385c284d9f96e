import Primitives
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
}
