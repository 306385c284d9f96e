import Inodes
import Primitives
import Synchronization
import Testing

@testable import VFS

@Suite("Who waits for uploads", .timeLimit(.minutes(2)))
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
        // Large ones, of which few go up at once: the failures are one after another.
        let contents = try self.contents(12, byteCount: 64 << 20)
        let tried = await self.tried(contents) { $0.rawValue < 10 ? .failedForNow : .done }
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
}
