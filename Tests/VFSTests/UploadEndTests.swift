import Inodes
import Primitives
import Synchronization
import TestKit
import Testing

@testable import VFS

@Suite("Who looks while an upload ends sees what was written", .timeLimit(.minutes(5)))
struct UploadEndTests {
    /// So often an upload ends while somebody looks all the time: the moment in question is a few microseconds.
    private static let uploadCount = 300

    /// How far who writes is.
    private final class Course: Sendable {
        let written = Atomic(0)
        let hasEnded = Atomic(false)
    }

    /// Looks again and again until what is done meanwhile has ended.
    ///
    /// - Returns: How often something was seen that is older than what was written before.
    private func countOlder(
        on mount: Mount,
        _ look: @escaping @Sendable () async throws -> Int?,
        write: (Int) async throws -> FileHandle
    ) async throws -> Int {
        let course = Course()
        async let count = {
            var count = 0
            while !course.hasEnded.load(ordering: .acquiring) {
                let before = course.written.load(ordering: .acquiring)
                if let seen = try await look(), seen < before { count += 1 }
                await Task.yield()
            }
            return count
        }()
        do {
            defer { course.hasEnded.store(true, ordering: .releasing) }
            for number in 1...Self.uploadCount {
                let handle = try await write(number)
                course.written.store(number, ordering: .releasing)
                try await mount.close(handle)
                await mount.waitUntilUploaded()
            }
        }
        return try await count
    }

    @Test("stat(2) does not go back to the size before")
    func sizes() async throws {
        let mount = try Mount(.strict, writes: WriteOptions(mode: .writeBack))
        try await mount.put("f", [])
        let inode = try await mount.inode("f")
        let count = try await self.countOlder(on: mount) {
            mount.fileSystem.getattrNow(inode).map { Int($0.0.size) }
        } write: { size in
            let handle = try await mount.open("f", writes: true)
            try await mount.write(handle, [1], at: size - 1)
            return handle
        }
        #expect(count == 0)
    }

    @Test("read(2) does not go back to the bytes before")
    func bytes() async throws {
        let mount = try Mount(.strict, writes: WriteOptions(mode: .writeBack))
        // Of what the service has already only what is written is here.
        mount.remote.put("f", [UInt8](repeating: 0, count: 300_000))
        let reader = try await mount.open("f")
        defer { mount.fileSystem.release(reader) }
        let count = try await self.countOlder(on: mount) {
            try await mount.read(reader, 0..<4096).prefix(2).reduce(0) { $0 << 8 + Int($1) }
        } write: { number in
            let handle = try await mount.open("f", writes: true)
            try await mount.write(handle, [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)])
            return handle
        }
        #expect(count == 0)
    }
}
