import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What a size tells of an upload whose last answer was lost, and what not", .timeLimit(.minutes(5)))
struct LostCompletionTests {
    @Test("The size of a file that was emptied long ago does not tell that what was written since is there")
    func emptiedLongAgo() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(50))
        _ = try await mount.size("a")
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(100))
        mount.expire()
        try await mount.close(handle)
        // Somebody else's may have been as long by then.
        #expect(mount.remote.previousSizes == [100])
    }

    @Test("That a name was free long ago does not tell whose file of that size is there now")
    func freeLongAgo() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(100))
        mount.expire()
        try await mount.close(handle)
        #expect(mount.remote.previousSizes == [100])
    }

    @Test("The size of a file that is renamed over proves nothing once it was seen long ago")
    func renamedOver() async throws {
        for isLongAgo in [true, false] {
            let mount = try Mount()
            mount.remote.put("a", pattern(100))
            mount.remote.put("b", pattern(50))
            _ = try await mount.size("b")
            if isLongAgo { mount.expire() }
            try await mount.rename("a", "b")
            #expect(mount.remote.previousSizes == [isLongAgo ? 100 : 50])
        }
    }

    /// A file whose upload was not completed as far as a listing shows, and then was.
    private func completedLate() async throws -> Mount {
        let mount = try Mount(writes: .waiting)
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.expire()
        #expect(try await mount.list() == ["a"])
        mount.remote.put("a", pattern(100))
        return mount
    }

    @Test("A file that the service completed after it was listed is unlinked there, too")
    func unlinked() async throws {
        let mount = try await self.completedLate()
        try await mount.unlink("a")
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("A file that the service completed after it was listed is at its new name alone once renamed")
    func renamed() async throws {
        let mount = try await self.completedLate()
        mount.faulty.heal()
        try await mount.rename("a", "b")
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["b"] && mount.remote.bytes(of: "b") == pattern(100))
    }

    @Test("A file that the service completed after it was listed is no conflict for what is renamed over it")
    func replaced() async throws {
        let mount = try await self.completedLate()
        try await mount.put("t", pattern(30))
        try await mount.rename("t", "a")
        mount.faulty.heal()
        mount.clock.advance(by: FileSystem.standingAge)
        while !(await mount.fileSystem.drain()).isEmpty {}
        #expect(mount.remote.tree == ["a"] && mount.remote.bytes(of: "a") == pattern(30))
    }

    @Test("While the service cannot tell whether it has a file after all, the file keeps its name")
    func awayAgain() async throws {
        let mount = try await self.completedLate()
        mount.faulty.fail(.list, with: .timedOut, count: .max)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.unlink("a") } == .remote(.timedOut)
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.timedOut)
        )
        mount.faulty.heal()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.tree == ["a"])
    }

    @Test("A file renamed after a lost answer is not taken for somebody else's of its size by the next mount")
    func renamedOverAndKilled() async throws {
        let mount = try Mount(writes: .waiting)
        mount.remote.put("b", pattern(100, from: 7))
        try await mount.put("a", pattern(100))
        mount.faulty.fail(.completeUpload, with: .timedOut, count: .max)
        #expect(await mount.fileSystem.drain().count == 1)
        mount.expire()
        _ = try await mount.list()
        mount.faulty.fail(.size, with: .timedOut, count: .max)
        try await mount.rename("a", "b")
        #expect(try await mount.leftByCrash() == ["b": pattern(100)])
    }
}
