import Inodes
import TestKit
import Testing

@testable import VFS

@Suite("Answers that cross a change on their way say nothing wrong", .timeLimit(.minutes(5)))
struct CrossingTests {
    @Test("What chmod set stays where a size is told between the end of an upload and the word of it")
    func modeAfterUpload() async throws {
        let mount = try Mount()
        try await mount.put("f", pattern(10))
        let inode = try await mount.inode("f")
        var change = AttributeChange()
        change.mode = 0o755
        try mount.fileSystem.setattr(inode, change)
        mount.expire()
        let sizes = mount.remote.hold(.size)
        let stat = Task { try await mount.stat("f") }
        await sizes.reached()
        let completion = mount.remote.hold(.completeUpload, .beforeAnswering)
        let rewriting = Task { try await mount.put("f", pattern(20)) }
        await completion.reached()
        sizes.release()
        _ = try await stat.value
        completion.release()
        try await rewriting.value
        #expect(try await mount.stat("f").mode == 0o755)
    }

    @Test("A read at the end of a file that became longer meanwhile, as stat told, gives the new bytes")
    func readWhileGrowing() async throws {
        let mount = try Mount()
        mount.remote.put("f", pattern(100_000))
        #expect(try await mount.size("f") == 100_000)
        let handle = try await mount.open("f")
        defer { mount.fileSystem.release(handle) }
        let reads = mount.remote.hold(.read)
        let read = Task { try await mount.read(handle, 98_304..<102_400) }
        await reads.reached()
        mount.remote.put("f", pattern(200_000))
        mount.expire()
        #expect(try await mount.size("f") == 200_000)
        reads.release()
        #expect(try await read.value == pattern(4096, from: 98_304))
    }

    @Test("A directory that mkdir says another client made is there for the next look")
    func madeElsewhere() async throws {
        let mount = try Mount()
        _ = try await mount.list()
        let lists = mount.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await mount.fileSystem.namespace.refresh(.root) }
        await lists.reached()
        mount.remote.makeDirectory("d")
        let making = Task { await failure { () throws(FileSystemError) in try await mount.mkdir("d") } }
        await mount.remote.ended(.makeDirectory)
        lists.release()
        #expect(await making.value == .exists)
        try await listing.value
        #expect(try await mount.exists("d"))
    }

    @Test("rmdir sees what another client made in the directory while a listing of it was on its way")
    func filledElsewhere() async throws {
        let mount = try Mount()
        try await mount.mkdir("d")
        let inode = try await mount.inode("d")
        let lists = mount.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await mount.fileSystem.namespace.refresh(inode) }
        await lists.reached()
        mount.remote.put("d/f", pattern(10))
        let removal = Task.immediate {
            await failure { () throws(FileSystemError) in try await mount.rmdir("d") }
        }
        lists.release()
        #expect(await removal.value == .notEmpty)
        try await listing.value
        #expect(mount.remote.bytes(of: "d/f") == pattern(10))
    }
}
