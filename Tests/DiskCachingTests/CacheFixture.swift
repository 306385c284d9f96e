import Glibc
import Logging
import Primitives
import Synchronization
import SystemPackage
import TestKit
import WireFormat

@testable import DiskCaching

/// A cache's directory, and caches that are opened in it one after the other.
struct CacheFixture {
    static let block = Int(DiskBlocks.byteCount)

    let parent = TemporaryDirectory()
    let log = CapturedLog()
    let clock = Mutable(Int64(1_000_000))
    let free = Mutable<UInt64?>(1 << 40)
    var identity = "https://service.example f-1"
    var options = DiskCache.Options(budget: 256 << 20)
    var segmentByteCount: Int? = 1 << 20

    var path: String { self.parent.path + "/blocks" }

    /// Opens the cache, or a copy of it in another directory.
    func open(at path: String? = nil) -> DiskCache {
        var environment = DiskEnvironment()
        environment.secondsSince1970 = { [clock] in clock.value }
        environment.freeByteCount = { [free] directory in
            // The real call finds out that a directory is gone.
            DiskSpace(of: directory.string) == nil ? nil : free.value
        }
        // Blocks are written when a test says so, or when the queue is a quarter full.
        environment.linger = .seconds(3600)
        environment.segmentByteCount = self.segmentByteCount
        return DiskCache(
            directory: FilePath(path ?? self.path),
            identity: self.identity,
            options: self.options,
            environment: environment,
            logger: self.log.logger
        )
    }

    /// Opens the cache, works with it and closes it.
    func session<Result>(_ work: (DiskCache) async throws -> Result) async rethrows -> Result {
        let cache = self.open()
        let result = try await work(cache)
        await cache.close()
        return result
    }

    /// The name of the first segment's file.
    var firstSegment: String { "blocks/segments/00000001" }

    /// Changes a file's bytes.
    func change(_ file: String, _ change: (inout [UInt8]) -> Void) {
        var bytes = self.parent.bytes(of: file) ?? []
        change(&bytes)
        self.parent.write(bytes, to: file)
    }
}

/// A value that tests change while others read it.
final class Mutable<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    init(_ value: Value) { self.mutex = Mutex(value) }

    var value: Value {
        get { self.mutex.withLock { $0 } }
        set { self.mutex.withLock { $0 = newValue } }
    }
}

/// `pattern` of a block at any start, made once: byte by byte it is slow.
private let patterns = pattern(CacheFixture.block + 251)

/// A buffer of `pattern`.
func buffer(_ start: Int, count: Int = CacheFixture.block) -> ByteBuffer {
    let buffer = ByteBuffer(count: count)
    patterns.withUnsafeBytes { bytes in
        buffer.uninitialized.copyMemory(from: .init(rebasing: bytes[(start % 251)..<(start % 251 + count)]))
    }
    return buffer
}

extension ByteBuffer {
    /// Whether it is what ``buffer(_:count:)`` makes.
    func holds(_ start: Int) -> Bool {
        patterns.withUnsafeBytes { bytes in
            let expected = UnsafeRawBufferPointer(rebasing: bytes[(start % 251)..<(start % 251 + self.count)])
            guard let left = expected.baseAddress, let right = self.bytes.baseAddress else { return false }
            return memcmp(left, right, self.count) == 0
        }
    }
}

extension DiskFile {
    /// Stores a block that has just come in.
    @discardableResult
    func store(_ index: UInt64, _ buffer: ByteBuffer) -> Bool {
        self.seal(index, buffer).map { self.store($0, buffer) } ?? true
    }

    /// Stores a pattern in each block, its index added to a number.
    func store(_ blocks: Range<UInt64>, from start: Int = 0) {
        for index in blocks {
            let count = DiskBlocks.byteCount(of: index, size: self.size)
            self.store(index, buffer(start + Int(index), count: count))
        }
    }

    /// The indices of the blocks that are read back as ``store(_:from:)`` had them; -1 for each that is wrong.
    func good(_ blocks: Range<UInt64>, from start: Int = 0) async -> [Int] {
        await self.read(blocks).map { index, buffer in
            let count = DiskBlocks.byteCount(of: index, size: self.size)
            return buffer.count == count && buffer.holds(start + Int(index)) ? Int(index) : -1
        }.sorted()
    }
}

/// Lets other threads run, from a thread that is no task's.
func usleepBriefly() { usleep(1000) }
