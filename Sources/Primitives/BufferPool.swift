import Glibc
import Synchronization

/// Memory of blocks that were let go, kept for the next ones: fresh memory costs the kernel a fault and a zeroing for
/// each page, which is more than the copy into it.
///
/// It comes in slabs of the size of a huge page, so that the kernel can make one of each: then a slab costs one fault,
/// and what looks pages up one by one (a reply to the kernel, a write past the page cache) finds them at once. Not the
/// first one: whoever reads a small file, or its first byte, is not to wait until 2 MiB are filled with zeros.
enum BufferPool {
    /// What is pooled, in bytes: the block of the cache, by far the most frequent buffer.
    static let pooledByteCount = 64 << 10
    /// As much as is kept for nothing at most: 8 MiB.
    private static let maximumFreeCount = 128
    private static let slabByteCount = 2 << 20

    /// Unchecked: a pointer in here is nobody else's until it is taken out.
    private struct Free: @unchecked Sendable {
        /// With memory, taken first.
        var kept: [UnsafeMutableRawPointer] = []
        /// Addresses without memory.
        var vacant: [UnsafeMutableRawPointer] = []
        var slabCount = 0
        /// What somebody has, in bytes.
        var usedByteCount = 0

        mutating func take() -> UnsafeMutableRawPointer? { self.kept.popLast() ?? self.vacant.popLast() }
    }

    private static let free = Mutex(Free())

    /// What is noted of a buffer where it is kept, in bytes, about: as much as a small one has of its own.
    private static let noteByteCount = 320

    /// What a buffer of so many bytes takes, in bytes, with what is noted of it.
    static func footprint(of byteCount: Int) -> Int {
        if byteCount == self.pooledByteCount { return byteCount }
        let granule = self.alignment(of: byteCount)
        return (max(byteCount, 1) + granule - 1) / granule * granule + self.noteByteCount
    }

    /// What is as long as a page begins with one, as O_DIRECT wants it; less shares pages with others.
    private static func alignment(of byteCount: Int) -> Int { byteCount < 4096 ? 16 : 4096 }

    /// What was taken out and not given back, in bytes, as ``footprint(of:)`` counts.
    static var usedByteCount: Int { self.free.withLock { $0.usedByteCount } }

    /// Uninitialised memory of `byteCount` bytes, on a page's boundary if it is a page or more, for ``release(_:)``.
    static func allocate(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        guard byteCount == self.pooledByteCount else {
            let count = max(byteCount, 1)
            self.free.withLock { $0.usedByteCount += self.footprint(of: count) }
            return .allocate(byteCount: count, alignment: self.alignment(of: count))
        }
        let pointer = self.free.withLock { free in
            free.usedByteCount += byteCount
            if let pointer = free.take() { return pointer }
            let slab = self.makeSlab(ofHugePages: free.slabCount > 0)
            free.slabCount += 1
            // The first of them first.
            for offset in stride(from: self.slabByteCount - byteCount, to: 0, by: -byteCount) {
                free.vacant.append(slab + offset)
            }
            return slab
        }
        return UnsafeMutableRawBufferPointer(start: pointer, count: byteCount)
    }

    /// Takes memory back that ``allocate(_:)`` gave.
    static func release(_ memory: UnsafeMutableRawBufferPointer) {
        guard memory.count == self.pooledByteCount, let pointer = memory.baseAddress else {
            memory.deallocate()
            self.free.withLock { $0.usedByteCount -= self.footprint(of: memory.count) }
            return
        }
        let isKept = self.free.withLock { free in
            free.usedByteCount -= memory.count
            guard free.kept.count < self.maximumFreeCount else { return false }
            free.kept.append(pointer)
            return true
        }
        if isKept { return }
        // The memory is the system's again; the addresses cost nothing.
        madvise(pointer, memory.count, MADV_DONTNEED)
        self.free.withLock { $0.vacant.append(pointer) }
    }

    /// Maps a slab, on a multiple of its length.
    private static func makeSlab(ofHugePages isHuge: Bool) -> UnsafeMutableRawPointer {
        let length = 2 * self.slabByteCount
        let mapped = mmap(
            nil,
            length,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
            -1,
            0
        )
        guard let mapped, mapped != MAP_FAILED else {
            // What Swift's own allocations do where there is no memory.
            preconditionFailure("out of memory for a block")
        }
        let before = Int(bitPattern: mapped) & (self.slabByteCount - 1)
        let slab = before == 0 ? mapped : mapped + (self.slabByteCount - before)
        if slab > mapped { munmap(mapped, slab - mapped) }
        let end = slab + self.slabByteCount
        if end < mapped + length { munmap(end, mapped + length - end) }
        // Where it cannot be had, small pages do.
        madvise(slab, self.slabByteCount, isHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
        return slab
    }
}
