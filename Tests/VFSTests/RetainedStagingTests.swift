import Inodes
import Primitives
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Which staged bytes are kept after their upload")
struct RetainedStagingTests {
    private func inode(_ number: Int) -> InodeNumber { InodeNumber(rawValue: UInt64(number)) }

    @Test("The oldest go when there are more than 256")
    func count() {
        let retained = RetainedStaging(maximumByteCount: 2 << 30)
        for number in 0..<256 { #expect(retained.add(self.inode(number), byteCount: 1).isEmpty) }
        #expect(retained.add(self.inode(256), byteCount: 1) == [self.inode(0)])
        #expect(retained.add(self.inode(256), byteCount: 1).isEmpty)
    }

    @Test("The oldest go when they take more than 2 GiB, as many as it needs")
    func byteCount() {
        let retained = RetainedStaging(maximumByteCount: 2 << 30)
        for number in 0..<4 { #expect(retained.add(self.inode(number), byteCount: 512 << 20).isEmpty) }
        #expect(retained.add(self.inode(4), byteCount: 600 << 20) == [self.inode(0), self.inode(1)])
    }

    @Test("A file that grew, or was let go, is counted as it is now")
    func changed() {
        let retained = RetainedStaging(maximumByteCount: 2 << 30)
        _ = retained.add(self.inode(1), byteCount: 1 << 30)
        _ = retained.add(self.inode(2), byteCount: 1 << 30)
        #expect(retained.add(self.inode(2), byteCount: 1 << 20).isEmpty)
        #expect(retained.add(self.inode(3), byteCount: 1 << 30) == [self.inode(1)])
        retained.remove(self.inode(3))
        retained.remove(self.inode(3))
        #expect(retained.add(self.inode(4), byteCount: 1 << 30).isEmpty)
    }

    @Test("What is more than may be kept goes with its last user", arguments: [0, 2])
    func tooLarge(limit: UInt64) async throws {
        let mount = try Mount(writes: WriteOptions(retainedByteLimit: limit))
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(3))
        try await mount.fileSystem.flush(handle, by: Mount.process)
        #expect(mount.staged.count == 1)
        mount.fileSystem.release(handle)
        #expect(mount.staged.isEmpty)
        #expect(mount.fileSystem.existingContent(of: handle.content.inode) == nil)
        #expect(try await mount.get("a") == pattern(3))
    }

    @Test("None is kept where the disk has less room than is to stay free")
    func crowded() async throws {
        guard let disk = SmallDisk() else { return }
        defer { disk.unmount() }
        let mount = try Mount(in: disk.directory)
        for name in ["a", "b"] { try await mount.put(name, pattern(10_000)) }
        #expect(mount.staged.count == 2)
        disk.fill(leaving: 300 << 10)
        try await mount.put("c", pattern(10_000))
        #expect(mount.staged.isEmpty)
        disk.clear()
        try await mount.put("d", pattern(10_000))
        #expect(mount.staged.count == 1)
        #expect(mount.remote.tree == ["a", "b", "c", "d"])
    }

    /// Counts when it goes if the state of a content could be had then.
    private final class Probe: Sendable {
        private let content: FileContent
        private let wasFree: Tally

        init(_ content: FileContent, _ wasFree: Tally) {
            self.content = content
            self.wasFree = wasFree
        }

        deinit {
            if self.content.state.withLockIfAvailable({ _ in true }) == true { self.wasFree.add() }
        }
    }

    @Test("Staged bytes that go with their version are closed with no lock held that others wait for")
    func forgotten() async throws {
        let mount = try Mount()
        try await mount.put("a", pattern(10))
        let inode = try await mount.inode("a")
        let content = try #require(mount.fileSystem.existingContent(of: inode))
        let wasFree = Tally()
        do {
            let probe = Probe(content, wasFree)
            content.staged?.follow { withExtendedLifetime(probe) { nil } }
        }
        mount.fileSystem.forgetVersion(of: content)
        #expect(content.staged == nil && wasFree.count == 1)
    }
}
