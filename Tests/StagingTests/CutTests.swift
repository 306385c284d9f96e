import Synchronization
import TestKit
import Testing

@testable import Staging

@Suite("What a crash leaves of a file that is cut, or is written to for the first time")
struct CutTests {
    private let fixture: StoreFixture

    init() throws { self.fixture = try StoreFixture() }

    /// What was written of a file in its middle, and covered by an fsync; the rest is on the service.
    private func promised() async throws -> StagedFile {
        let file = try self.fixture.written("a", pattern(10), size: 1000, base: 1000)
        try await file.makeDurable()
        return file
    }

    private func crashed() throws -> StoreFixture {
        let crashed = try self.fixture.crashed()
        self.fixture.keep(crashed)
        return crashed
    }

    @Test("A cut that was announced and not made makes up no bytes where only some of the file are here")
    func announced() async throws {
        let file = try await self.promised()
        try await file.prepareToChange(cuttingTo: 5)
        let left = try #require(try self.crashed().leftovers().first)
        #expect(left.file.size == 5)
        #expect(try content(left.file) == pattern(5))
    }

    @Test("What is written after such a cut comes back")
    func writtenAfterCut() async throws {
        let file = try await self.promised()
        try await file.prepareToChange(cuttingTo: 5)
        try file.truncate(to: 5)
        try write(file, pattern(10), at: 5)
        let left = try #require(try self.crashed().leftovers().first)
        #expect(left.file.isWhole)
        #expect(try content(left.file) == pattern(5) + pattern(10))
    }

    @Test("A file that differed in nothing is cut before the journal is told what is here of it")
    func clean() throws {
        let lengths = Mutex<[UInt64?]>([])
        let directory = self.fixture.store.directory
        let file = try self.fixture.store.makeFile(for: path("a"), size: 700, baseSize: 700) {
            let name = CacheDirectory.names(in: directory).first ?? ""
            lengths.withLock { $0.append(CacheDirectory.length(of: directory.appending(name))) }
            return path("a")
        }
        try file.truncate(to: 0)
        #expect(lengths.withLock { !$0.isEmpty && $0.allSatisfy { $0 == 0 } })
        #expect(file.isWhole && file.size == 0)
    }

    @Test("A file that the journal does not know yet is kept by the name it had when it was first written to")
    func name() throws {
        let file = try self.fixture.store.makeFile(for: path("old"), size: 0) { path("new") }
        try write(file, [1])
        #expect(self.fixture.staged.allSatisfy { $0.hasPrefix("dirty-") && $0.hasSuffix("-new") })
        #expect(self.fixture.staged.count == 1)
    }
}
