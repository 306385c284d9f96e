import Glibc
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("Files staged on the local disk")
struct StagedFileTests {
    private let directory = TemporaryDirectory()
    private let log = CapturedLog()
    private let store: StagingStore

    init() throws {
        self.store = try StagingStore(in: Self.cache(self.directory), logger: self.log.logger)
    }

    private static func cache(_ directory: TemporaryDirectory) throws -> CacheDirectory {
        try CacheDirectory(
            in: FilePath(directory.path).appending("cache"),
            for: try #require(FilesystemID("f-1"))
        )
    }

    private var staged: [String] { self.directory.names(in: "cache/f-1/staging") }
    private var recovered: [String] { self.directory.names(in: "cache/f-1/recovered") }

    private func content(_ file: StagedFile, _ range: Range<Int>? = nil) throws -> [UInt8] {
        let range = range ?? 0..<Int(file.size)
        var bytes = [UInt8](repeating: 0xee, count: range.count)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: UInt64(range.lowerBound)) }
        return Array(bytes[..<count])
    }

    private func write(_ file: StagedFile, _ bytes: [UInt8], at offset: UInt64) throws {
        try bytes.withUnsafeBytes { try file.write($0, at: offset) }
    }

    private func fill(_ file: StagedFile, _ bytes: [UInt8], at offset: UInt64) throws {
        try bytes.withUnsafeBytes { try file.fill($0, at: offset) }
    }

    @Test("Files of filesystems whose mounts begin in the same second have different numbers")
    func numbers() throws {
        let stores = try (0..<4).map { _ in try StoreFixture() }
        #expect(Set(try stores.map { try $0.written().number }).count == 4)
    }

    @Test("What is written is read, and the file grows")
    func write() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, pattern(100), at: 0)
        try self.write(file, [7, 7], at: 99)
        #expect(file.size == 101)
        #expect(try self.content(file) == pattern(99) + [7, 7])
        #expect(file.localByteCount == 101)
    }

    @Test("Between the old end and a later write are zeros, which are here")
    func hole() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, [1], at: 10)
        #expect(try self.content(file) == [UInt8](repeating: 0, count: 10) + [1])
        #expect(file.pieces(of: 0..<11).map(\.isHere) == [true])
    }

    @Test("Bytes that only the service has are told apart from those written here")
    func pieces() throws {
        let file = try self.store.makeFile(for: path("a"), size: 100)
        try self.write(file, [1, 2], at: 50)
        #expect(file.pieces(of: 0..<1000).map(\.range) == [0..<50, 50..<52, 52..<100])
        #expect(file.pieces(of: 0..<1000).map(\.isHere) == [false, true, false])
        #expect(file.pieces(of: 200..<300).isEmpty)
    }

    @Test("A read ends with the file")
    func readEnd() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, pattern(10), at: 0)
        #expect(try self.content(file, 5..<100) == pattern(5, from: 5))
        #expect(try self.content(file, 10..<20) == [])
        #expect(try self.content(file, 1000..<1001) == [])
    }

    @Test("A file that was cut and grows again has zeros where it was cut, not the old bytes")
    func truncate() throws {
        let file = try self.store.makeFile(for: path("a"), size: 100)
        try self.fill(file, pattern(100), at: 0)
        try file.truncate(to: 10)
        #expect(file.size == 10)
        #expect(file.localByteCount == 10)
        try file.truncate(to: 20)
        #expect(try self.content(file) == pattern(10) + [UInt8](repeating: 0, count: 10))
        #expect(file.pieces(of: 0..<20).map(\.isHere) == [true])
    }

    @Test("What was cut before it came from the service is zeros afterwards, not the service's bytes")
    func truncateUnfetched() throws {
        let file = try self.store.makeFile(for: path("a"), size: 100)
        try file.truncate(to: 10)
        try file.truncate(to: 100)
        #expect(file.pieces(of: 0..<100).map(\.range) == [0..<10, 10..<100])
        #expect(file.pieces(of: 0..<100).map(\.isHere) == [false, true])
        #expect(try self.content(file, 10..<100) == [UInt8](repeating: 0, count: 90))
    }

    @Test("Bytes from the service go only where nothing was written, and change nothing")
    func fill() throws {
        let file = try self.store.makeFile(for: path("a"), size: 10)
        try self.write(file, [99, 99], at: 4)
        let before = file.snapshot
        try self.fill(file, pattern(10), at: 0)
        #expect(try self.content(file) == [0, 1, 2, 3, 99, 99, 6, 7, 8, 9])
        #expect(file.snapshot == before)
    }

    @Test("Bytes from the service beyond the file's end are not taken")
    func fillEnd() throws {
        let file = try self.store.makeFile(for: path("a"), size: 10)
        try file.truncate(to: 5)
        try self.fill(file, pattern(10), at: 0)
        try self.fill(file, pattern(10), at: 7)
        #expect(file.size == 5)
        #expect(try self.content(file) == pattern(5))
    }

    @Test("Filling does not make a file differ from the service's")
    func fillIsClean() throws {
        let file = try self.store.makeFile(for: path("a"), size: 10)
        try self.fill(file, pattern(10), at: 0)
        #expect(!file.isDirty)
        #expect(self.staged.allSatisfy { $0.hasPrefix("clean-") })
    }

    @Test("Room made for a range lets the file grow with zeros, and keeps what is there")
    func allocate() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, pattern(10), at: 0)
        try file.allocate(5..<20)
        #expect(try self.content(file) == pattern(10) + [UInt8](repeating: 0, count: 10))
        try file.allocate(0..<5)
        #expect(file.size == 20)
    }

    /// How many bytes of the local disk the one staged file takes.
    private func diskUse() throws -> Int {
        var status = stat()
        let name = try #require(self.staged.first)
        #expect(stat("\(self.directory.path)/cache/f-1/staging/\(name)", &status) == 0)
        return Int(status.st_blocks) * 512
    }

    @Test("Room for a range is taken of the local disk, not of the file, and given back in the end")
    func reserve() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, pattern(10), at: 0)
        let before = file.snapshot
        try file.reserve(5..<1 << 20)
        #expect(file.snapshot == before)
        #expect(try self.content(file, 0..<20) == pattern(10))
        #expect(try self.diskUse() >= 1 << 20)
        file.endReservation()
        #expect(try self.diskUse() < 1 << 20)
        #expect(try self.content(file, 0..<20) == pattern(10))
    }

    @Test("Every change is counted, and an empty write is none")
    func changeCount() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, [], at: 5)
        #expect(file.snapshot == StagedFile.Snapshot(size: 0, changeCount: 0))
        #expect(!file.isDirty)
        try self.write(file, [1], at: 0)
        try self.write(file, [1], at: 0)
        try file.truncate(to: 1)
        #expect(file.snapshot == StagedFile.Snapshot(size: 1, changeCount: 3))
    }

    @Test("The name on the disk says whether bytes are only here, and whose they are")
    func names() throws {
        let file = try self.store.makeFile(for: path("some dir/file"), size: 0)
        #expect(self.staged.count == 1 && self.staged.allSatisfy { $0.hasPrefix("clean-") })
        try self.write(file, [1], at: 0)
        #expect(self.staged.count == 1)
        #expect(self.staged.allSatisfy { $0.hasPrefix("dirty-") && $0.hasSuffix("-some%20dir%2Ffile") })
        #expect(file.didUpload(file.snapshot).isAll)
        #expect(self.staged.count == 1 && self.staged.allSatisfy { $0.hasPrefix("clean-") })
        #expect(!file.isDirty)
    }

    @Test("A file that was changed during its upload stays dirty")
    func changedDuringUpload() throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, [1], at: 0)
        let snapshot = file.snapshot
        try self.write(file, [2], at: 0)
        #expect(!file.didUpload(snapshot).isAll)
        #expect(file.isDirty)
        #expect(self.staged.allSatisfy { $0.hasPrefix("dirty-") })
    }

    @Test("A clean file leaves the disk with its last user")
    func cleanGoes() throws {
        var file: StagedFile? = try self.store.makeFile(for: path("a"), size: 10)
        #expect(file?.size == 10)
        file = nil
        #expect(self.staged.isEmpty)
        #expect(self.recovered.isEmpty)
    }

    @Test("A file whose bytes are only here is kept for recovery when its last user goes")
    func dirtyIsKept() throws {
        var file: StagedFile? = try self.store.makeFile(for: path("a"), size: 0)
        if let file { try self.write(file, pattern(10), at: 0) }
        file = nil
        #expect(self.staged.isEmpty)
        #expect(self.recovered.count == 1)
        let kept = try #require(self.recovered.first)
        #expect(self.directory.bytes(of: "cache/f-1/recovered/\(kept)") == pattern(10))
    }

    @Test("Bytes that have no place on the service are put where a person finds them, once")
    func keptForRecovery() throws {
        var file: StagedFile? = try self.store.makeFile(for: path("a"), size: 0)
        if let file { try self.write(file, pattern(10), at: 0) }
        let kept = try #require(file?.keepForRecovery())
        #expect(file?.isDirty == false)
        #expect(file?.keepForRecovery() == "")
        file = nil
        #expect(self.staged.isEmpty)
        #expect(self.recovered.count == 1)
        #expect(kept.hasSuffix("/recovered/\(self.recovered.first ?? "?")"))
    }

    @Test("Bytes that nobody wants any more are not kept")
    func discarded() throws {
        var file: StagedFile? = try self.store.makeFile(for: path("a"), size: 0)
        if let file { try self.write(file, pattern(10), at: 0) }
        file?.discard()
        file = nil
        #expect(self.staged.isEmpty)
        #expect(self.recovered.isEmpty)
    }

    @Test("A path of any length and of any characters makes a name that the disk can hold")
    func longPath() throws {
        let long = String(repeating: "ü", count: 127)
        let file = try self.store.makeFile(for: path("\(long)/\(long)"), size: 0)
        try self.write(file, [1], at: 0)
        #expect(self.staged.allSatisfy { $0.hasPrefix("dirty-") && $0.utf8.count <= 255 })
    }

    @Test("A body of a staged file is its range, and cannot be had once the file is shorter")
    func body() async throws {
        let file = try self.store.makeFile(for: path("a"), size: 0)
        try self.write(file, pattern(300_000), at: 0)
        let body = StagedBodyReader(file, 100..<250_000)
        #expect(body.count == 249_900)
        #expect(await body.readAll() == pattern(249_900, from: 100))
        try file.truncate(to: 200)
        #expect(await body.readAll() == nil)
    }

    @Test(
        "What a crashed mount left unsent is moved to where a person finds it, told once, and the rest is removed"
    )
    func recovery() throws {
        let directory = TemporaryDirectory()
        // The cache directory as a first mount makes it, which then is gone without a trace of an end.
        _ = try StagingStore(in: Self.cache(directory), logger: self.log.logger)
        directory.write(pattern(10), to: "cache/f-1/staging/dirty-7-some%20file")
        directory.write(pattern(10), to: "cache/f-1/staging/clean-8")
        let log = CapturedLog()
        let store = try StagingStore(in: Self.cache(directory), logger: log.logger)
        #expect(directory.names(in: "cache/f-1/staging").isEmpty)
        let kept = directory.names(in: "cache/f-1/recovered")
        #expect(kept.count == 1 && kept.allSatisfy { $0.hasSuffix("-dirty-7-some%20file") })
        #expect(directory.bytes(of: "cache/f-1/recovered/\(kept.first ?? "")") == pattern(10))
        #expect(log.text.count == 1)
        #expect(
            log.text.allSatisfy { $0.contains(store.recoveryDirectory.appending(kept.first ?? "?").string) }
        )
    }
}
