import RemoteAPI
import TestKit
import Testing

@testable import Staging
@testable import VFS

@Suite("Writing", .timeLimit(.minutes(5)))
struct WriteTests {
    @Test("Where the local disk is full, copies of what the service has go, but those in use")
    func spareBytes() async throws {
        let mount = try Mount()
        for name in ["a", "b", "c"] { try await mount.put(name, pattern(100)) }
        let handle = try await mount.open("a")
        #expect(mount.staged.count == 3)
        #expect(mount.fileSystem.staging.makeRoom(50) && mount.staged.count == 2)
        #expect(mount.fileSystem.staging.makeRoom(1000) && mount.staged.count == 1)
        #expect(!mount.fileSystem.staging.makeRoom(1))
        #expect(try await mount.read(handle) == pattern(100))
        mount.fileSystem.release(handle)
        for name in ["a", "b", "c"] { #expect(try await mount.get(name) == pattern(100)) }
    }

    @Test("What is written is read through the same handle and others before it is on the service")
    func readBack() async throws {
        let mount = try Mount()
        let writer = try await mount.create("a")
        try await mount.write(writer, pattern(100))
        let reader = try await mount.open("a")
        #expect(try await mount.read(writer) == pattern(100))
        #expect(try await mount.read(reader, 10..<20) == pattern(10, from: 10))
        #expect(try await mount.size("a") == 100)
        #expect(mount.remote.tree.isEmpty)
        mount.fileSystem.release(reader)
        try await mount.close(writer)
        #expect(mount.remote.bytes(of: "a") == pattern(100))
    }

    @Test("Several handles write one content, and the last close finds nothing left to do")
    func severalHandles() async throws {
        let mount = try Mount()
        let first = try await mount.create("a")
        let second = try await mount.open("a", writes: true)
        try await mount.write(first, [1, 2, 3])
        try await mount.write(second, [9], at: 1)
        #expect(try await mount.read(first) == [1, 9, 3])
        try await mount.close(first)
        #expect(mount.remote.bytes(of: "a") == [1, 9, 3])
        try await mount.write(second, [7], at: 3)
        try await mount.close(second)
        #expect(mount.remote.bytes(of: "a") == [1, 9, 3, 7])
    }

    @Test("A write into the middle keeps what is around it")
    func middle() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(200_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255, 255], at: 100_000)
        #expect(
            try await mount.read(handle, 99_999..<100_003) == [
                pattern(1, from: 99_999)[0], 255, 255, pattern(1, from: 100_002)[0],
            ]
        )
        try await mount.close(handle)
        var expected = pattern(200_000)
        expected.replaceSubrange(100_000..<100_002, with: [255, 255])
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("A file of which every other piece was written is read and uploaded whole")
    func everyOther() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(300_000))
        let handle = try await mount.open("a", writes: true)
        var expected = pattern(300_000)
        for offset in stride(from: 500, to: 300_000, by: 1000) {
            try await mount.write(handle, [255, 254], at: offset)
            expected.replaceSubrange(offset..<offset + 2, with: [255, 254])
        }
        #expect(try await mount.read(handle, 0..<400_000) == expected)
        #expect(try await mount.read(handle, 499..<503) == Array(expected[499..<503]))
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == expected)
        #expect(mount.remote.count(.read) <= 3)
    }

    @Test("An append downloads what was there and adds to it")
    func append() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, pattern(100, from: 100_000), at: 100_000)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(100_100))
    }

    @Test("A write beyond the end leaves zeros between")
    func beyondEnd() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [1], at: 20)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(10) + [UInt8](repeating: 0, count: 10) + [1])
    }

    @Test("A file made exclusively must not be there; a directory is none")
    func exclusive() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        mount.remote.makeDirectory("d")
        #expect(
            await failure { () throws(FileSystemError) in try await mount.create("a", isExclusive: true) }
                == .exists
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.create("d", isExclusive: true) }
                == .exists
        )
        #expect(await failure { () throws(FileSystemError) in try await mount.create("d") } == .isDirectory)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("A file that was made and emptied again is empty on the service")
    func empty() async throws {
        let mount = try Mount()
        try await mount.put("a", [])
        #expect(mount.remote.bytes(of: "a") == [])
        #expect(try await mount.get("a") == [])
    }

    @Test("O_TRUNC empties a file although nothing is written")
    func truncatedOnOpen() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        try await mount.close(try await mount.open("a", writes: true, truncates: true))
        #expect(mount.remote.bytes(of: "a") == [])
        #expect(mount.remote.count(.read) == 0)
    }

    @Test("truncate(2) cuts and grows, and is on the service when it returns", arguments: [0, 4, 10, 25])
    func truncate(size: Int) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        try await mount.truncate("a", to: UInt64(size))
        let expected = pattern(min(size, 10)) + [UInt8](repeating: 0, count: max(0, size - 10))
        #expect(mount.remote.bytes(of: "a") == expected)
        #expect(try await mount.get("a") == expected)
    }

    @Test("A file cut and grown before it was ever read has zeros, not its old bytes")
    func cutAndGrown() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(200_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.fileSystem.truncate(handle.content.inode, to: 10, through: handle)
        try await mount.fileSystem.truncate(handle.content.inode, to: 100_000, through: handle)
        #expect(try await mount.read(handle, 0..<20) == pattern(10) + [UInt8](repeating: 0, count: 10))
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(10) + [UInt8](repeating: 0, count: 99_990))
    }

    @Test("Through a handle a new size waits for the close")
    func truncateThroughHandle() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.fileSystem.truncate(handle.content.inode, to: 5, through: handle)
        #expect(try await mount.size("a") == 5)
        #expect(mount.remote.bytes(of: "a")?.count == 10)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(5))
    }

    @Test("Room that was made shows as zeros, and takes nothing away")
    func allocate() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, pattern(10))
        try await mount.fileSystem.allocate(handle, 5..<20, by: Mount.process)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(10) + [UInt8](repeating: 0, count: 10))
    }

    @Test("Room beyond the end of a file does not show, and nothing is uploaded for it")
    func reserve() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        try await mount.fileSystem.reserve(handle, 0..<1000, expecting: 1000)
        #expect(try await mount.size("a") == 10)
        #expect(try await mount.read(handle) == pattern(10))
        try await mount.close(handle)
        #expect(mount.remote.count(.beginUpload) == 0)
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("A file larger than there may be is refused before anything is done")
    func tooLarge() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        let limit = Int(mount.fileSystem.maximumFileByteCount)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.write(handle, [1], at: limit) }
                == .fileTooLarge
        )
        #expect(
            await failure { () throws(FileSystemError) in try await mount.write(handle, [1], at: .max) }
                == .fileTooLarge
        )
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.truncate("a", to: UInt64(limit) + 1)
            } == .fileTooLarge
        )
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(10))
    }

    @Test("A child that only inherited the descriptor does not end the file early when it closes")
    func bystander() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a", by: 1)
        try await mount.write(handle, [1], by: 1)
        try await mount.fileSystem.flush(handle, by: 2)
        #expect(mount.remote.calls(without: "list").isEmpty)
        try await mount.write(handle, [2], at: 1, by: 1)
        try await mount.close(handle, by: 1)
        #expect(mount.remote.bytes(of: "a") == [1, 2])
        #expect(mount.remote.count(.completeUpload) == 1)
    }

    @Test("A child that writes through an inherited descriptor uploads when it closes")
    func writingChild() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a", by: 1)
        try await mount.write(handle, [1], by: 2)
        try await mount.fileSystem.flush(handle, by: 2)
        #expect(mount.remote.bytes(of: "a") == [1])
        mount.fileSystem.release(handle)
    }

    @Test("A child that cuts a file, or makes room in it, by an inherited descriptor uploads when it closes")
    func cuttingChild() async throws {
        let changes: [(Mount, FileHandle) async throws -> Void] = [
            { try await $0.fileSystem.truncate($1.content.inode, to: 10, through: $1, by: 2) },
            { try await $0.fileSystem.allocate($1, 0..<10, by: 2) },
        ]
        for change in changes {
            let mount = try Mount()
            let handle = try await mount.create("a", by: 1)
            try await change(mount, handle)
            try await mount.fileSystem.flush(handle, by: 2)
            #expect(mount.remote.bytes(of: "a")?.count == 10)
            mount.fileSystem.release(handle)
        }
    }

    @Test("A process that writes while another one closes the file still counts as a writer")
    func writtenInFlush() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a", by: 1)
        try await mount.write(handle, [1], by: 1)
        let hold = mount.remote.hold(.putPart)
        let closing = Task { try await mount.fileSystem.flush(handle, by: 1) }
        await hold.reached()
        try await mount.write(handle, [2], at: 1, by: 2)
        hold.release()
        try await closing.value
        #expect(handle.writers.withLock { $0.processes.contains(2) })
        try await mount.close(handle, by: 2)
        #expect(mount.remote.bytes(of: "a") == [1, 2])
    }

    @Test("A file that nobody flushed is uploaded when its last handle goes")
    func releasedUnflushed() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a", by: 1)
        try await mount.write(handle, [1], by: 0)
        mount.fileSystem.release(handle)
        await mount.remote.ended(.completeUpload)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("fsync puts on the service what is there, and the file goes on")
    func fsync() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        try await mount.fileSystem.fsync(handle)
        #expect(mount.remote.bytes(of: "a") == [1])
        try await mount.write(handle, [2], at: 1)
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [1, 2])
    }

    @Test(
        "The completion is told the size of the file it replaces where that is known, and never a wrong one"
    )
    func previousSizes() async throws {
        let mount = try Mount()
        mount.remote.put("known", pattern(7))
        mount.remote.put("unknown", pattern(10))
        try await mount.put("new", pattern(10))
        _ = try await mount.get("known")
        let handle = try await mount.open("known", writes: true)
        try await mount.write(handle, [1])
        try await mount.close(handle)
        // Where the old size is not known, the new one's proves nothing.
        try await mount.put("unknown", pattern(10, from: 5))
        #expect(mount.remote.previousSizes == [nil, 7, 10])
    }

    @Test("A local disk that is full, or a cache that went, fails the write and not the mount")
    func lostCache() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true)
        mount.directory.removeAll()
        let error = await failure { () throws(FileSystemError) in try await mount.write(handle, [1]) }
        guard case .local = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try await mount.read(handle) == pattern(10))
        mount.fileSystem.release(handle)
    }

    @Test("A file that is emptied while a write to it waits has nothing of that write")
    func cutAfterWrite() async throws {
        let mount = try Mount()
        mount.remote.put("f", pattern(100))
        let handle = try await mount.open("f", writes: true)
        mount.expire()
        let hold = mount.remote.hold(.size)
        let writing = Task.immediate { try await mount.write(handle, pattern(50)) }
        await hold.reached()
        let inode = handle.content.inode
        let cutting = Task.immediate {
            try await mount.fileSystem.truncate(inode, to: 0, through: handle)
            try await mount.write(handle, [1, 2])
        }
        hold.release()
        try await writing.value
        try await cutting.value
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "f") == [1, 2])
    }

    @Test("Writes that wait for the service are done in the order in which they came")
    func order() async throws {
        for _ in 0..<20 {
            let mount = try Mount()
            mount.remote.put("f", pattern(100))
            let handles = [try await mount.open("f", writes: true), try await mount.open("f", writes: true)]
            mount.expire()
            let hold = mount.remote.hold(.size)
            let first = Task.immediate { try await mount.write(handles[0], [1]) }
            await hold.reached()
            let second = Task.immediate { try await mount.write(handles[1], [2]) }
            hold.release()
            try await first.value
            try await second.value
            #expect(try await mount.read(handles[0], 0..<1) == [2])
            for handle in handles { mount.fileSystem.release(handle) }
        }
    }
}
