import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What a directory's rename that fails takes back", .timeLimit(.minutes(5)))
struct RenameTakenBackTests {
    private func makeTree(_ mount: Mount) {
        mount.remote.put("d/a", pattern(100))
        mount.remote.put("d/e/b", pattern(200))
        mount.remote.put("d/e/empty", [])
        mount.remote.makeDirectory("d/f")
    }

    private static let original = ["d/", "d/a", "d/e/", "d/e/b", "d/e/empty", "d/f/"]

    @Test("A copy of which nobody has heard that it is there is taken back too", arguments: [false, true])
    func unheardOf(isCutOff: Bool) async throws {
        let mount = try Mount()
        for name in ["a", "b"] { mount.remote.put("d/\(name)", pattern(10)) }
        if isCutOff {
            // As one fails, the answer to the other's is on its way.
            let hold = mount.remote.hold(.completeUpload, .beforeAnswering)
            mount.faulty.fail(.completeUpload, with: .unavailable("x"), skipping: 1)
            let error = await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
            #expect(error == .remote(.unavailable("x")))
            hold.release()
        } else {
            mount.faulty.loseAnswer(.completeUpload, with: .unavailable("x"))
            let error = await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
            #expect(error == .remote(.unavailable("x")))
        }
        #expect(mount.remote.tree == ["d/", "d/a", "d/b"])
    }

    @Test("A copy that may be there is taken back also if another upload of it is refused")
    func refusedAfterDoubt() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        mount.faulty.loseAnswer(.completeUpload, with: .notFound)
        mount.faulty.fail(.beginUpload, with: .forbidden, skipping: 1)
        let error = await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        #expect(error == .remote(.forbidden))
        #expect(mount.remote.tree == ["d/", "d/a"])
    }

    @Test("What another client puts where a copy was refused is not taken for the copy")
    func foreignInPlaceOfCopy() async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        let hold = mount.remote.hold(.putPart)
        mount.faulty.fail(.completeUpload, with: .forbidden)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        }
        await hold.reached()
        mount.remote.put("x/a", pattern(10))
        hold.release()
        #expect(await renaming.value == .remote(.forbidden))
        #expect(mount.remote.tree == ["d/", "d/a", "x/", "x/a"])
    }

    @Test("What another client puts into one of the copies is no reason to leave the others")
    func foreignInOneCopy() async throws {
        let mount = try Mount()
        for name in ["p/a", "q/b", "z/c"] { mount.remote.put("d/\(name)", pattern(10)) }
        let first = mount.remote.hold(.completeUpload)
        mount.faulty.fail(.makeDirectory, with: .unavailable("x"), skipping: 3)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        }
        await first.reached()
        let second = mount.remote.hold(.completeUpload)
        first.release()
        await second.reached()
        mount.remote.put("x/q/foreign", [7])
        second.release()
        #expect(await renaming.value == .remote(.unavailable("x")))
        let original = ["d/", "d/p/", "d/p/a", "d/q/", "d/q/b", "d/z/", "d/z/c"]
        #expect(mount.remote.tree == original + ["x/", "x/q/", "x/q/foreign"])
    }

    @Test("What another client puts into the copy is not taken back with it")
    func foreignInCopy() async throws {
        let mount = try Mount()
        self.makeTree(mount)
        let hold = mount.remote.hold(.completeUpload)
        mount.faulty.fail(.makeDirectory, with: .unavailable("x"), skipping: 1)
        let renaming = Task { () async -> FileSystemError? in
            await failure { () throws(FileSystemError) in try await mount.rename("d", "x") }
        }
        await hold.reached()
        mount.remote.put("x/foreign", [7])
        hold.release()
        #expect(await renaming.value == .remote(.unavailable("x")))
        #expect(mount.remote.bytes(of: "x/foreign") == [7])
        #expect(mount.remote.tree == Self.original + ["x/", "x/foreign"])
    }
}
