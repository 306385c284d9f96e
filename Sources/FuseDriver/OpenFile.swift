import CFuse
import Synchronization
import VFS

/// What the kernel gives back with each request on an open file.
final class OpenFile: Sendable {
    let handle: FileHandle
    private let counters: ActivityCounters
    /// Which process each thread that wrote belongs to: a write in small pieces asks only once.
    private let processes = Mutex<[Int32: Int32]>([:])

    /// Far more threads than write to one file in earnest.
    private static let maximumThreadCount = 64

    init(_ handle: FileHandle, _ counters: ActivityCounters) {
        self.handle = handle
        self.counters = counters
        counters.openFiles.add(1, ordering: .relaxed)
    }

    deinit { self.counters.openFiles.subtract(1, ordering: .relaxed) }

    /// Takes note of a write that arrived, before any later request is taken.
    func willWrite(_ offset: UInt64, count: UInt32) {
        self.handle.announceWrite(offset..<offset + UInt64(count))
    }

    /// The write that is told of above.
    func announcedWrite(_ offset: UInt64, count: Int) -> PendingWrite {
        self.handle.announcedWrite(offset..<offset + UInt64(count))
    }

    /// The process of a thread that writes: the kernel names threads, and another one than wrote may close.
    func process(ofWriter thread: Int32) -> Int32 {
        if let known = self.processes.withLock({ $0[thread] }) { return known }
        let process = Self.process(of: thread)
        self.processes.withLock { processes in
            if processes.count >= Self.maximumThreadCount { processes.removeAll() }
            processes[thread] = process
        }
        return process
    }

    /// A thread's process; 0 if it cannot be told.
    static func process(of thread: Int32) -> Int32 {
        // As most do; that is told far sooner than /proc can be read.
        if cfuse_is_first_thread(thread) != 0 { return thread }
        return ProcessStatus(thread: thread)?.process ?? 0
    }

    // The kernel holds a reference as a number, from open to release.

    var retainedNumber: UInt64 { UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque())) }

    static func at(_ number: UInt64) -> OpenFile? {
        UnsafeRawPointer(bitPattern: UInt(number)).map {
            Unmanaged<OpenFile>.fromOpaque($0).takeUnretainedValue()
        }
    }

    static func taking(_ number: UInt64) -> OpenFile? {
        UnsafeRawPointer(bitPattern: UInt(number)).map {
            Unmanaged<OpenFile>.fromOpaque($0).takeRetainedValue()
        }
    }
}
