import Inodes
import Primitives
import Synchronization
import TestKit
import Testing

@testable import VFS

@Suite("Who waits for uploads", .timeLimit(.minutes(5)))
struct UploadQueueTests {
    private let mount: Mount
    private let queue = UploadQueue()

    init() throws { self.mount = try Mount() }

    /// So many files to upload, of that size; they take no room.
    private func contents(_ count: Int, byteCount: UInt64 = 1) throws -> [FileContent] {
        try (0..<count).map { number in
            let content = FileContent(InodeNumber(rawValue: UInt64(number)))
            let staged = try self.mount.fileSystem.staging.makeFile(for: nil, size: byteCount)
            content.state.withLock { $0.staged = staged }
            return content
        }
    }

    /// Waits for files, and says which were tried meanwhile.
    private func tried(
        _ contents: [FileContent],
        _ outcome: @escaping @Sendable (InodeNumber) -> UploadSchedule.Outcome
    ) async -> Set<InodeNumber> {
        let tried = Mutex<Set<InodeNumber>>([])
        self.queue.begin { content, _ in
            tried.withLock { _ = $0.insert(content.inode) }
            return outcome(content.inode)
        }
        await self.queue.settle(contents)
        self.queue.end()
        return tried.withLock(\.self)
    }

    @Test("Files at which the service fails, each for itself, keep nobody from waiting for the others")
    func failures() async throws {
        // Large ones, of which few go up at once: the failures are one after another, and with a pause after each it would
        // take many minutes.
        let contents = try self.contents(40, byteCount: 64 << 20)
        let tried = await self.tried(contents) { $0.rawValue < 38 ? .failedForNow : .done }
        #expect(tried == Set(contents.map(\.inode)))
    }

    @Test("Nobody waits for one file after another while nothing comes from the service")
    func silence() async throws {
        let contents = try self.contents(30, byteCount: 64 << 20)
        #expect(await self.tried(contents) { _ in .unanswered }.count < 12)
    }

    @Test("Nobody waits for thousands of files while the service fails at all of them")
    func allFail() async throws {
        let contents = try self.contents(300)
        #expect(await self.tried(contents) { _ in .failedForNow }.count <= 2 * UploadSchedule.capacity)
    }

    @Test("Who waits for room goes on with the upload that makes it, in whatever moment that ends")
    func room() async throws {
        let content = try #require(try self.contents(1).first)
        self.queue.begin { _, _ in .done }
        let start = ContinuousClock.now
        var random = SeededGenerator(seed: 7)
        // Fewer of them on a busy machine.
        for _ in 0..<5000 where ContinuousClock.now < start + .seconds(10) {
            self.queue.add(content)
            // About as long as it takes the upload to end.
            for _ in 0..<Int.random(in: 0..<5000, using: &random) {}
            await self.queue.waitForRoom(limit: 0, atMost: .seconds(60))
        }
        #expect(ContinuousClock.now < start + .seconds(60))
    }

    @Test("Nobody waits for a file that is gone by the time that its upload was stopped")
    func gone() async throws {
        let content = try #require(try self.contents(1).first)
        let count = Mutex(0)
        let hold = Hold()
        self.queue.begin { _, _ in
            count.withLock { $0 += 1 }
            _ = await hold.pass()
            return .stopped
        }
        let isOver = Mutex(false)
        let waiting = Task.immediate {
            await self.queue.settle([content])
            isOver.withLock { $0 = true }
        }
        await hold.reached()
        self.queue.forget(content.inode)
        hold.release()
        #expect(await self.mount.comes { isOver.withLock(\.self) })
        #expect(count.withLock(\.self) == 1)
        waiting.cancel()
        await waiting.value
    }

    @Test(
        "A file below a directory that is moved is tried again once that has moved, also where it just has",
        arguments: [false, true]
    )
    func heldUp(isEarly: Bool) async throws {
        let content = try #require(try self.contents(1).first)
        let count = Mutex(0)
        self.queue.begin { [queue] _, _ in
            let isFirst = count.withLock { count in
                count += 1
                return count == 1
            }
            if isFirst, isEarly { queue.didOpenGates() }
            return isFirst ? .heldUp : .done
        }
        self.queue.add(content)
        if !isEarly {
            #expect(await self.mount.comes { count.withLock(\.self) == 1 && self.queue.runningCount == 0 })
            self.queue.didOpenGates()
        }
        #expect(await self.mount.comes { count.withLock(\.self) == 2 })
    }

    @Test("Who comes while an upload runs that then fails waits for no pause after it")
    func failsMeanwhile() async throws {
        let contents = try self.contents(2)
        let count = Mutex(0)
        let hold = Hold()
        self.queue.begin { content, _ in
            guard content.inode == contents[0].inode else { return .done }
            let number = count.withLock { count in
                count += 1
                return count
            }
            if number == 9 { _ = await hold.pass() }
            return number < 10 ? .failedForNow : .done
        }
        self.queue.add(contents[0])
        // Its pauses grow: the others, for whom somebody waits, end each of them.
        for number in 1...8 {
            #expect(
                await self.mount.comes {
                    count.withLock(\.self) == number && self.queue.runningCount == 0
                }
            )
            await self.queue.settle([contents[1]])
        }
        await hold.reached()
        let waiting = Task.immediate { await self.queue.settle([contents[0]]) }
        hold.release()
        #expect(await self.mount.comes { count.withLock(\.self) == 10 })
        waiting.cancel()
        await waiting.value
    }

    @Test("Who waits for all waits for nothing that came to be held up in the moment in which he began to")
    func heldUpAtOnce() async throws {
        let contents = try self.contents(2)
        let hold = Hold()
        self.queue.begin { _, _ in
            _ = await hold.pass()
            return .stopped
        }
        let asked = Mutex<Set<InodeNumber>>([])
        let isOver = Mutex(false)
        let waiting = Task.immediate {
            await self.queue.settle(contents) { content in
                asked.withLock { !$0.insert(content.inode).inserted }
            }
            isOver.withLock { $0 = true }
        }
        #expect(await self.mount.comes { isOver.withLock(\.self) })
        waiting.cancel()
        await waiting.value
        self.queue.end()
        hold.release()
    }

    @Test("Nobody waits for the upload of one file while the service fails")
    func failing() async throws {
        let content = try self.contents(1)[0]
        let isTried = Mutex(false)
        let hold = Hold()
        self.queue.begin { _, _ in
            let isFirst = isTried.withLock { isTried in
                defer { isTried = true }
                return !isTried
            }
            if isFirst { return .unanswered }
            return await hold.pass() ? .done : .stopped
        }
        self.queue.add(content)
        await hold.reached()
        #expect(await !self.queue.waitForUpload(of: content.inode, atMost: .seconds(3600)))
        hold.release()
        self.queue.end()
    }
}
