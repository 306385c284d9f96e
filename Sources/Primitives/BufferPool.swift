import Glibc
import Synchronization

/// Memory of blocks that were let go, kept for the next ones: fresh memory costs the kernel a fault and a zeroing for
/// each page, which is more than the copy into it.
enum BufferPool {
    /// What is pooled, in bytes: the block of the cache, by far the most frequent buffer.
    static let pooledByteCount = 64 << 10
    /// As much as is kept for nothing at most: 8 MiB.
    private static let maximumFreeCount = 128

    /// Unchecked: a pointer in here is nobody else's until it is taken out.
    private struct Free: @unchecked Sendable {
        var pointers: [UnsafeMutableRawPointer] = []
    }

    private static let free = Mutex(Free())

    /// Uninitialised memory of `byteCount` bytes, on a page's boundary, for ``release(_:)``.
    static func allocate(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        guard byteCount == self.pooledByteCount else {
            return .allocate(byteCount: max(byteCount, 1), alignment: 4096)
        }
        if let kept = self.free.withLock({ $0.pointers.popLast() }) {
            return UnsafeMutableRawBufferPointer(start: kept, count: byteCount)
        }
        // A mapping of its own: what is unmapped is the system's again, whatever malloc has above it.
        let mapped = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped, mapped != MAP_FAILED else {
            // What Swift's own allocations do where there is no memory.
            preconditionFailure("out of memory for a block")
        }
        return UnsafeMutableRawBufferPointer(start: mapped, count: byteCount)
    }

    /// Takes memory back that ``allocate(_:)`` gave.
    static func release(_ memory: UnsafeMutableRawBufferPointer) {
        guard memory.count == self.pooledByteCount, let pointer = memory.baseAddress else {
            memory.deallocate()
            return
        }
        let isKept = self.free.withLock { free in
            guard free.pointers.count < self.maximumFreeCount else { return false }
            free.pointers.append(pointer)
            return true
        }
        if !isKept { munmap(pointer, memory.count) }
    }
}
