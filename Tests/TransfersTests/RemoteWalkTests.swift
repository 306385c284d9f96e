import RemoteAPI
import TestKit
import Testing
import Transfers
import WireFormat

@Suite("Going through a directory")
struct RemoteWalkTests {
    private let remote = InMemoryRemote()

    init() {
        for file in ["b", "a/z", "a/c/deep", "d/x", "ä"] { self.remote.put(file, Array(file.utf8)) }
    }

    private func steps(_ directory: String = "", _ options: RemoteWalk.Options = .init()) async -> [String] {
        let walk = RemoteWalk(path(directory), of: self.remote, options)
        var steps: [String] = []
        while let step = await walk.next() {
            switch step {
            case .enter(let path, let listing):
                steps.append("enter \(path): \(listing.entries.map(\.name.string).joined(separator: " "))")
            case .file(let path, let size): steps.append("file \(path)" + (size.map { " \($0)" } ?? ""))
            case .leave(let path): steps.append("leave \(path)")
            case .failed(let path, let error): steps.append("failed \(path): \(error)")
            }
        }
        return steps
    }

    @Test("Files come before directories, and each directory's content before the next directory")
    func order() async {
        #expect(
            await self.steps() == [
                "enter : a b d ä", "file b", "file ä", "enter a: c z", "file a/z", "enter a/c: deep",
                "file a/c/deep", "leave a/c", "leave a", "enter d: x", "file d/x", "leave d", "leave ",
            ]
        )
        #expect(self.remote.count(.list) == 4)
        #expect(self.remote.count(.size) == 0)
    }

    @Test("One directory alone is not gone below")
    func flat() async {
        let steps = await self.steps("a", .init(isRecursive: false, withSizes: true))
        #expect(steps == ["enter a: c z", "file a/z success(3)", "leave a"])
        #expect(self.remote.calls == ["list a", "size a/z"])
    }

    @Test("A directory that cannot be listed is told")
    func failure() async {
        #expect(await self.steps("gone") == ["failed gone: \(RemoteError.notFound)"])
    }

    @Test("Missing parents are made, one that is there is left, and a file in the way is told")
    func parents() async throws {
        try await self.remote.makeDirectoryWithParents(path("a/n/m/o"))
        #expect(self.remote.tree.contains("a/n/m/o/"))
        try await self.remote.makeDirectoryWithParents(path("a/n"))
        await #expect(throws: RemoteError.changedKind) {
            try await self.remote.makeDirectoryWithParents(path("b"))
        }
    }

    @Test("A directory that somebody else makes after its parent was missing is no failure")
    func parentsRace() async throws {
        let faulty = FaultyRemote(self.remote)
        // The first try finds no parent, which is made then; in the second somebody else is faster.
        faulty.loseAnswer(.makeDirectory, with: .alreadyExists, skipping: 2)
        try await faulty.makeDirectoryWithParents(path("n/m"))
        #expect(self.remote.tree.contains("n/m/"))
        #expect(self.remote.count(.makeDirectory) == 3)
    }
}
