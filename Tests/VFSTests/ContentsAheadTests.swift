import Inodes
import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import VFS

extension Mount {
    /// What `cat` does to a file that another program stats, or not: the kernel asks for the attributes, opens, reads.
    func cat(_ text: String) async throws(FileSystemError) -> [UInt8] {
        _ = try await self.stat(text)
        return try await self.get(text)
    }

    /// Waits until a condition holds, with a limit.
    func reached(_ condition: () -> Bool) async throws {
        for _ in 0..<5000 where !condition() { try await Task.sleep(for: .milliseconds(1)) }
        try #require(condition())
    }

    /// Waits until no call is under way any more, and none was for a moment.
    func settled() async throws {
        var quiet = 0
        try await self.reached {
            quiet = self.remote.isBusy ? 0 : quiet + 1
            return quiet > 5
        }
    }
}

// Comparing many megabytes takes minutes with a sanitizer.
@Suite("Bytes asked for before they are read", .timeLimit(.minutes(5)))
struct ContentsAheadTests {
    private func names(_ count: Int) -> [String] { (100..<100 + count).map { "d/f\($0)" } }

    private func mount(_ count: Int, size: Int = 4096) throws -> Mount {
        let mount = try Mount()
        for (index, name) in self.names(count).enumerated() {
            mount.remote.put(name, pattern(size, from: index))
        }
        return mount
    }

    // MARK: The first bytes

    @Test("The first byte of a listed file is two requests, side by side, and the read joins them")
    func firstByte() async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        mount.remote.forgetCalls()
        let (sizes, reads) = (mount.remote.hold(.size), mount.remote.hold(.read))
        let cat = Task { try await mount.cat("d/f100") }
        await sizes.reached()
        await reads.reached()
        sizes.release()
        await mount.remote.ended(.size)
        reads.release()
        #expect(try await cat.value == pattern(4096))
        #expect(mount.remote.calls.sorted() == ["read d/f100 0-65536", "size d/f100"])
    }

    @Test("Reads of the rest of a large file do not wait for its first bytes, and nothing is fetched twice")
    func largeFile() async throws {
        let mount = try self.mount(1, size: 200_000)
        _ = try await mount.list("d")
        mount.remote.forgetCalls()
        let reads = mount.remote.hold(.read)
        let cat = Task { try await mount.cat("d/f100") }
        await reads.reached(2)
        reads.release()
        #expect(try await cat.value == pattern(200_000))
        #expect(mount.remote.count(.size) == 1)
        #expect(mount.remote.readByteCount == 200_000)
    }

    @Test("A walk that comes to a file whose first bytes are on their way does not ask for them again")
    func walkMeetsHead() async throws {
        let mount = try self.mount(3, size: 200_000)
        _ = try await mount.list("d")
        mount.remote.forgetCalls()
        let reads = mount.remote.hold(.read)
        let last = Task { try await mount.cat("d/f102") }
        await reads.reached(2)
        let first = Task { try await mount.cat("d/f100") }
        await reads.reached(4)
        let second = Task { try await mount.cat("d/f101") }
        try await mount.reached { mount.fileSystem.ahead.unreadByteCount > 0 }
        await reads.reached(6)
        reads.release()
        for (index, cat) in [first, second, last].enumerated() {
            #expect(try await cat.value == pattern(200_000, from: index))
        }
        try await mount.settled()
        #expect(mount.remote.readByteCount == 600_000)
    }

    @Test("Programs that only stat files, in whatever order, cause a handful of vain requests")
    func statsOnly() async throws {
        let mount = try self.mount(100)
        _ = try await mount.list("d")
        mount.remote.forgetCalls()
        for name in self.names(100).shuffled() { _ = try await mount.stat(name) }
        try await mount.settled()
        #expect(mount.remote.count(.size) == 100)
        #expect(mount.remote.count(.read) <= 4)
    }

    @Test("After many stats, reads bring the guesses back")
    func recovers() async throws {
        let mount = try self.mount(30)
        for name in self.names(20) { _ = try await mount.stat(name) }
        try await mount.settled()
        #expect(try await mount.cat("d/f125") == pattern(4096, from: 25))
        mount.remote.forgetCalls()
        #expect(try await mount.cat("d/f123") == pattern(4096, from: 23))
        #expect(mount.remote.calls.sorted() == ["read d/f123 0-65536", "size d/f123"])
    }

    @Test("A file that was read before costs one size after the time to live, in a walk too")
    func seenBefore() async throws {
        let mount = try self.mount(50)
        for name in self.names(50) { _ = try await mount.cat(name) }
        try await mount.settled()
        mount.expire()
        mount.remote.forgetCalls()
        for name in self.names(50) { _ = try await mount.cat(name) }
        try await mount.settled()
        #expect(mount.remote.count(.size) == 50)
        #expect(mount.remote.count(.read) == 0)
    }

    @Test("ls -l fetches no contents")
    func lsLong() async throws {
        let mount = try self.mount(100)
        let handle = try await mount.fileSystem.opendir(try await mount.inode("d"))
        _ = mount.fileSystem.readdir(handle, from: 0)
        for name in self.names(100) { _ = try await mount.stat(name) }
        mount.fileSystem.releasedir(handle)
        try await mount.settled()
        #expect(mount.remote.count(.read) == 0)
    }

    @Test(
        "An empty file, and one that is not there any more, are what the size says",
        arguments: [true, false]
    )
    func emptyOrGone(isEmpty: Bool) async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        if isEmpty { mount.remote.put("d/f100", []) } else { mount.remote.remove("d/f100") }
        if isEmpty {
            #expect(try await mount.cat("d/f100") == [])
        } else {
            let error = await failure { () throws(FileSystemError) in try await mount.cat("d/f100") }
            #expect(error == .stale)
        }
    }

    @Test(
        "Bytes that do not fit the size are dropped, and the file is read as it is",
        arguments: [10, 5000, 70_000, 200_000]
    )
    func changesBetween(size: Int) async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        let sizes = mount.remote.hold(.size)
        let stat = Task { try await mount.size("d/f100") }
        await mount.remote.ended(.read)
        mount.remote.put("d/f100", pattern(size, from: 7))
        sizes.release()
        #expect(try await stat.value == size)
        #expect(try await mount.get("d/f100") == pattern(size, from: 7))
    }

    @Test(
        "First bytes whose size comes much later are not taken for those of the file that is there then",
        arguments: [65_536, 70_000, 200_000]
    )
    func changesWhileSizeIsAskedAgain(size: Int) async throws {
        let mount = try self.mount(1, size: 100_000)
        _ = try await mount.list("d")
        let sizes = mount.remote.hold(.size)
        let stat = Task { try await mount.size("d/f100") }
        await mount.remote.ended(.read)
        mount.remote.put("d/f100", pattern(size, from: 7))
        // As long as a Retry-After lasts, or an answer that is lost.
        mount.clock.advance(by: .seconds(5))
        sizes.release()
        #expect(try await stat.value == size)
        #expect(try await mount.get("d/f100") == pattern(size, from: 7))
    }

    @Test("What was asked for before a write of ours is not taken for what was written")
    func writtenBetween() async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        let reads = mount.remote.hold(.read, .beforeAnswering)
        #expect(try await mount.size("d/f100") == 4096)
        await reads.reached()
        try await mount.put("d/f100", pattern(4096, from: 99))
        reads.release()
        try await mount.settled()
        // As if its staged bytes had been let go.
        #expect(mount.remote.bytes(of: "d/f100") == pattern(4096, from: 99))
        #expect(try await mount.get("d/f100") == pattern(4096, from: 99))
    }

    @Test("A stat that is given up takes its guess along, and a read after that asks anew")
    func cancelled() async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        let (sizes, reads) = (mount.remote.hold(.size), mount.remote.hold(.read))
        let stat = Task { try await mount.stat("d/f100") }
        await sizes.reached()
        await reads.reached()
        stat.cancel()
        _ = await stat.result
        await mount.remote.ended(.size)
        await mount.remote.ended(.read)
        sizes.release()
        reads.release()
        #expect(try await mount.cat("d/f100") == pattern(4096))
    }

    @Test("A read that waits for the first bytes can be given up, and another one still gets them")
    func cancelledRead() async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        let reads = mount.remote.hold(.read)
        _ = try await mount.stat("d/f100")
        await reads.reached()
        let (first, second) = (try await mount.open("d/f100"), try await mount.open("d/f100"))
        let answer = OneShot<Result<[ByteSlice], FileSystemError>>()
        let outcome = try mount.fileSystem.read(first, 0..<100) { answer.resolve($0) }
        let other = Task { try await mount.read(second) }
        guard case .pending(let cancel) = outcome else {
            Issue.record("the read was answered before the bytes came")
            return
        }
        cancel()
        let given = try #require(await answer.wait())
        #expect(throws: FileSystemError.self) { try given.get() }
        reads.release()
        #expect(try await other.value == pattern(4096))
        #expect(mount.remote.count(.read) == 1)
        mount.fileSystem.release(first)
        mount.fileSystem.release(second)
    }

    @Test("A service that fails the first bytes fails the read that waits for them, without asking again")
    func unavailable() async throws {
        let mount = try self.mount(1)
        _ = try await mount.list("d")
        mount.faulty.fail(.read, with: .timedOut)
        let reads = mount.remote.hold(.size)
        let cat = Task { try await mount.cat("d/f100") }
        await reads.reached()
        reads.release()
        // It failed before the read came, which asks by itself; or the read waited for it.
        switch await cat.result {
        case .success(let bytes): #expect(bytes == pattern(4096))
        case .failure(let error): #expect((error as? FileSystemError)?.errno == .timedOut)
        }
        #expect(try await mount.cat("d/f100") == pattern(4096))
    }

    // MARK: Walks

    @Test("A program that reads a directory's files in order costs two requests a file, many at once")
    func walk() async throws {
        let mount = try self.mount(200)
        _ = try await mount.list("d")
        mount.remote.forgetCalls()
        for (index, name) in self.names(20).enumerated() {
            #expect(try await mount.cat(name) == pattern(4096, from: index))
        }
        try await mount.settled()
        let hold = mount.remote.hold(.read)
        let rest = Task {
            for (index, name) in self.names(200).enumerated().dropFirst(20) {
                let bytes = try await mount.cat(name)
                #expect(bytes == pattern(4096, from: index))
            }
        }
        await hold.reached(16)
        hold.release()
        try await rest.value
        #expect(mount.remote.count(.size) + mount.remote.count(.read) <= 420)
        #expect(mount.remote.readByteCount <= 200 * 4096 * 21 / 20)
    }

    @Test("A walk of several directories goes on without a new start, one request a file with sizes known")
    func directories() async throws {
        let mount = try Mount()
        for directory in 1...5 {
            for index in 100..<150 {
                mount.remote.put("t/d\(directory)/f\(index)", pattern(100, from: index))
            }
        }
        for directory in 1...5 {
            let names = try await mount.list("t/d\(directory)")
            if directory > 1 {
                // Before any file of it was read.
                try await mount.reached {
                    mount.remote.calls.count { $0.hasPrefix("read t/d\(directory)/") } >= 48
                }
            }
            for name in names {
                let index = try #require(Int(name.dropFirst()))
                #expect(try await mount.cat("t/d\(directory)/\(name)") == pattern(100, from: index))
            }
        }
        #expect(mount.remote.count(.size) == 250)
        #expect(mount.remote.count(.read) == 250)
        #expect(mount.remote.readByteCount == 25_000)
    }

    @Test("A program that stops in the middle, or reads backwards, wastes a bounded number of requests")
    func wastes() async throws {
        let mount = try self.mount(300)
        _ = try await mount.list("d")
        for name in self.names(100) { _ = try await mount.cat(name) }
        try await mount.settled()
        #expect(mount.remote.count(.read) <= 100 + 48)
        mount.remote.forgetCalls()
        for name in self.names(300).dropFirst(200).reversed() { _ = try await mount.cat(name) }
        try await mount.settled()
        #expect(mount.remote.count(.read) == 100)
    }

    @Test("Files that are opened and not read end the walk")
    func openedOnly() async throws {
        let mount = try self.mount(300)
        _ = try await mount.list("d")
        for name in self.names(20) { _ = try await mount.cat(name) }
        try await mount.settled()
        let before = mount.remote.count(.read)
        for name in self.names(100).dropFirst(20) {
            mount.fileSystem.release(try await mount.open(name))
        }
        try await mount.settled()
        #expect(mount.remote.count(.read) == before)
        #expect(mount.fileSystem.ahead.unreadByteCount == 0)
    }

    @Test(
        "A file that another client changes after it was fetched ahead is read as it was, or as it is",
        arguments: [10, 4096, 9000, 100_000],
        [true, false]
    )
    func changesAhead(size: Int, isExpired: Bool) async throws {
        let mount = try self.mount(60)
        _ = try await mount.list("d")
        for name in self.names(10) { _ = try await mount.cat(name) }
        try await mount.settled()
        mount.remote.put("d/f110", pattern(size, from: 77))
        if isExpired { mount.expire() }
        let bytes = try await mount.cat("d/f110")
        let (old, new) = (pattern(4096, from: 10), pattern(size, from: 77))
        // A replacement of the same size cannot be seen.
        #expect(isExpired && size != 4096 ? bytes == new : bytes == old || bytes == new)
    }

    @Test("Files of 1 MiB ahead stay within a quarter of the memory for blocks, and come whole")
    func memory() async throws {
        let mount = try self.mount(40, size: 1 << 20)
        _ = try await mount.list("d")
        for (index, name) in self.names(40).enumerated() {
            #expect(try await mount.cat(name) == pattern(1 << 20, from: index))
            #expect(mount.fileSystem.ahead.unreadByteCount <= 16 << 20)
        }
        #expect(mount.remote.readByteCount == 40 << 20)
    }
}
