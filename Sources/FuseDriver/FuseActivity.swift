import Primitives
import Synchronization

/// What programs did through a mount so far, as far as the kernel did not answer them from its own cache.
public struct FuseActivity: Sendable, Hashable {
    /// How many files are open now; a file that is open twice counts twice.
    public var openFileCount = 0
    /// Reads that were answered.
    public var readCount: UInt64 = 0
    /// The bytes of those.
    public var readByteCount: UInt64 = 0
    /// Writes that were taken.
    public var writeCount: UInt64 = 0
    /// The bytes of those.
    public var writtenByteCount: UInt64 = 0
}

/// Counts it. Relaxed: each figure is right by itself, and no two need belong to one moment.
final class ActivityCounters: Sendable {
    let openFiles = Atomic<Int>(0)
    private let reads = Atomic<UInt64>(0)
    private let readBytes = Atomic<UInt64>(0)
    private let writes = Atomic<UInt64>(0)
    private let writtenBytes = Atomic<UInt64>(0)

    /// A read was answered with these bytes.
    func didRead(_ slices: [ByteSlice]) {
        self.reads.add(1, ordering: .relaxed)
        self.readBytes.add(UInt64(slices.reduce(0) { $0 + $1.range.count }), ordering: .relaxed)
    }

    /// So many bytes were written.
    func didWrite(_ byteCount: Int) {
        self.writes.add(1, ordering: .relaxed)
        self.writtenBytes.add(UInt64(byteCount), ordering: .relaxed)
    }

    /// The figures now.
    var snapshot: FuseActivity {
        FuseActivity(
            openFileCount: self.openFiles.load(ordering: .relaxed),
            readCount: self.reads.load(ordering: .relaxed),
            readByteCount: self.readBytes.load(ordering: .relaxed),
            writeCount: self.writes.load(ordering: .relaxed),
            writtenByteCount: self.writtenBytes.load(ordering: .relaxed)
        )
    }
}
