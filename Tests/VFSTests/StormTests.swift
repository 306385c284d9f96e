import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Many programs at once", .timeLimit(.minutes(5)))
struct StormTests {
    /// What may come of operations on names that others change.
    private static let expected: Set<FileSystemError> = [
        .noSuchFile, .exists, .notEmpty, .isDirectory, .notDirectory, .stale, .changedOnServer,
        .invalidArgument,
    ]

    private static let names = ["a", "b", "d/a", "d/b", "e/a", "e/b"]
    private static let directories = ["d", "e", "d/s"]

    @Test(
        "Nobody waits for ever, no file is a mixture of two, and the service has what the mount shows",
        arguments: 0..<4
    )
    func storm(run number: Int) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        // Half of the runs have no memory for names that are not in use.
        let mount = try Mount(listingBudget: number % 2 == 0 ? 32 << 20 : 1)
        mount.remote.makeDirectory("d")
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<8 {
                group.addTask {
                    var random = SeededGenerator(seed: seed &+ UInt64(index))
                    for _ in 0..<60 {
                        let error = await failure { () async throws(FileSystemError) in
                            try await Self.step(mount, &random)
                        }
                        if let error, !Self.expected.contains(error) {
                            Issue.record("seed \(seed), task \(index): \(error)")
                        }
                        await Task.yield()
                    }
                }
            }
        }
        let unsent = await mount.fileSystem.drain()
        #expect(unsent.isEmpty, "seed \(seed): \(unsent.map { "\($0.place): \($0.error)" })")
        #expect(mount.fileSystem.unsent.fileCount == 0, "seed \(seed)")
        mount.expire()
        for name in mount.remote.tree where !name.hasSuffix("/") {
            let bytes = try #require(mount.remote.bytes(of: name))
            #expect(bytes == pattern(bytes.count, from: Int(bytes.first ?? 0)), "seed \(seed), \(name)")
            #expect(try await mount.get(name) == bytes, "seed \(seed), \(name)")
        }
        for name in Self.names where mount.remote.bytes(of: name) == nil {
            #expect(await !Self.isThere(name, mount), "seed \(seed), \(name)")
        }
    }

    private static func isThere(_ name: String, _ mount: Mount) async -> Bool {
        await failure { () async throws(FileSystemError) in try await mount.get(name) } == nil
    }

    private static func step(_ mount: Mount, _ random: inout SeededGenerator) async throws(FileSystemError) {
        let name = Self.names[Int.random(in: 0..<Self.names.count, using: &random)]
        let other = Self.names[Int.random(in: 0..<Self.names.count, using: &random)]
        let directory = Self.directories[Int.random(in: 0..<Self.directories.count, using: &random)]
        let otherDirectory = Self.directories[Int.random(in: 0..<Self.directories.count, using: &random)]
        let bytes = pattern(
            Int.random(in: 1..<30_000, using: &random),
            from: Int.random(in: 0..<251, using: &random)
        )
        switch Int.random(in: 0..<12, using: &random) {
        case 0...2: try await Self.save(mount, name, bytes)
        case 3...4:
            let read = try await mount.get(name)
            guard read == pattern(read.count, from: Int(read.first ?? 0)) else {
                Issue.record("\(name) was read as a mixture")
                return
            }
        case 5: try await mount.rename(name, other)
        case 6: try await mount.rename(directory, otherDirectory)
        case 7: try await mount.unlink(name)
        case 8: try await mount.mkdir(directory)
        case 9: try await mount.rmdir(directory)
        case 10: _ = try await mount.list(directory)
        default: mount.clock.advance(by: .seconds(4))
        }
    }

    /// Writes beside and renames over, as careful programs do: then no reader sees a part.
    private static func save(_ mount: Mount, _ name: String, _ bytes: [UInt8]) async throws(FileSystemError) {
        let beside = "\(name).\(bytes.count).\(bytes.first ?? 0)"
        try await mount.put(beside, bytes)
        try await mount.rename(beside, name)
    }
}
