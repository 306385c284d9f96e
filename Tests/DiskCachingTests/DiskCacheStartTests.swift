import Glibc
import TestKit
import Testing
import WireFormat

@testable import DiskCaching

/// Sees which of a directory's files are opened (inotify(7)).
private final class OpenedFiles {
    private let descriptor: Int32

    init(in directory: String) {
        self.descriptor = inotify_init1(Int32(O_NONBLOCK) | Int32(O_CLOEXEC))
        #expect(inotify_add_watch(self.descriptor, directory, UInt32(IN_OPEN)) >= 0)
    }

    deinit { close(self.descriptor) }

    /// The names of those that were opened since the last call.
    func take() -> Set<String> {
        var names: Set<String> = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 8)
        defer { buffer.deallocate() }
        while case let count = read(self.descriptor, buffer.baseAddress, buffer.count), count > 0 {
            var offset = 0
            while offset < count {
                let event = buffer.load(fromByteOffset: offset, as: inotify_event.self)
                let start = offset + MemoryLayout<inotify_event>.size
                offset = start + Int(event.len)
                let bytes = buffer[start..<offset].prefix { $0 != 0 }
                // Of the directory itself there is no name.
                if !bytes.isEmpty { names.insert(String(decoding: bytes, as: UTF8.self)) }
            }
        }
        return names
    }
}

@Suite("The start of the disk cache")
struct DiskCacheStartTests {
    private var fixture = CacheFixture()

    @Test("However many segments there are, only that which is appended to is opened before a block is read")
    func noScan() async {
        let size = 200 * DiskBlocks.byteCount
        await self.fixture.session { $0.file(path("a"), size: size).store(0..<200) }
        let segments = self.fixture.parent.names(in: "blocks/segments")
        #expect(segments.count >= 10)
        let opened = OpenedFiles(in: self.fixture.path + "/segments")
        await self.fixture.session { cache in
            #expect(cache.statistics.byteCount > UInt64(200 * CacheFixture.block))
            // The work that is done beside it has ended then.
            await cache.flush()
            #expect(opened.take().isSubset(of: segments.suffix(1)))
            let file = cache.file(path("a"), size: size)
            await file.load(0..<1)
            #expect(await file.good(0..<1) == [0])
            #expect(opened.take() == ["00000001"])
        }
    }
}
