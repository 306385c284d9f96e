import FoundationEssentials
import Glibc
import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

/// A staging store in a directory of its own, which can crash.
final class StoreFixture {
    let directory: TemporaryDirectory
    let log = CapturedLog()
    let store: StagingStore
    /// As the mount would have them until it crashes.
    private var files: [StagedFile] = []
    private var later: [StoreFixture] = []

    var journal: Journal { self.store.journal }
    var staged: [String] { self.directory.names(in: "cache/f-1/staging") }
    var recovered: [String] { self.directory.names(in: "cache/f-1/recovered") }

    /// - Parameters:
    ///   - directory: With what an earlier one left.
    ///   - boot: Names the start of the machine.
    ///   - recovers: Whether it looks at what was left.
    ///   - syncFile: What fdatasync(2) does.
    ///   - checkFile: What says whether the disk failed to take something.
    /// - Throws: If there can be none.
    init(
        in directory: TemporaryDirectory = TemporaryDirectory(),
        boot: String = "first",
        recovers: Bool = true,
        syncFile: @escaping @Sendable (Int32) -> Int32 = { fdatasync($0) },
        checkFile: @escaping @Sendable (Int32) -> Int32 = { _ in 0 }
    ) throws {
        self.directory = directory
        self.store = try StagingStore(
            in: CacheDirectory(
                in: FilePath(directory.path).appending("cache"),
                for: try #require(FilesystemID("f-1"))
            ),
            recovers: recovers,
            makeRoom: { _ in false },
            boot: boot,
            syncFile: syncFile,
            checkFile: checkFile,
            logger: self.log.logger
        )
    }

    /// What a process finds that starts after this one was killed once its journal's thread had caught up.
    func disk() throws -> TemporaryDirectory {
        self.store.finish()
        let copy = TemporaryDirectory()
        try FileManager.default.copyItem(
            atPath: self.directory.path + "/cache",
            toPath: copy.path + "/cache"
        )
        return copy
    }

    /// A store on what is left of this one after a crash.
    func crashed(boot: String = "first", recovers: Bool = true) throws -> StoreFixture {
        try StoreFixture(in: self.disk(), boot: boot, recovers: recovers)
    }

    /// Keeps a later store, and its directory, as long as this one.
    func keep(_ later: StoreFixture) { self.later.append(later) }

    /// What the journal has.
    func records() async throws -> [Journal.Record] { try await self.journal.records() }

    /// A file with bytes that a program has written.
    func written(
        _ name: String = "a",
        _ bytes: [UInt8] = pattern(100),
        size: UInt64 = 0,
        base: UInt64? = nil
    ) throws -> StagedFile {
        let file = try self.store.makeFile(for: path(name), size: size, baseSize: base)
        try write(file, bytes)
        self.files.append(file)
        return file
    }

    func leftovers() -> [StagingStore.Leftover] { self.store.takeLeftovers(logger: self.log.logger) }
}

func write(_ file: StagedFile, _ bytes: [UInt8], at offset: UInt64 = 0) throws {
    try bytes.withUnsafeBytes { try file.write($0, at: offset) }
}

func content(_ file: StagedFile) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: Int(file.size))
    let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
    return Array(bytes[..<count])
}

func extents(_ ranges: Range<UInt64>...) -> ExtentMap {
    var map = ExtentMap()
    for range in ranges { map.insert(range) }
    return map
}
