import NIOPosix

/// Threads for calls that wait for the disk, so that neither event loops nor Swift's own pool do.
struct DiskPool: Sendable {
    private let pool: NIOThreadPool

    /// Starts the threads.
    ///
    /// - Parameter threadCount: How many calls may wait at once.
    init(threadCount: Int) {
        self.pool = NIOThreadPool(numberOfThreads: threadCount)
        self.pool.start()
    }

    /// For calls that take no longer than bytes or names need: enough that small reads pass large ones. Those that write
    /// have one of their own, as a disk that cannot keep up makes them wait.
    static func forBytes() -> DiskPool { DiskPool(threadCount: 16) }

    /// For calls that wait until something is on the disk, which of a large file may take minutes: however many there are,
    /// reads and listings do not wait for them.
    static func forSynchronizing() -> DiskPool { DiskPool(threadCount: 16) }

    /// Runs a call on one of the threads.
    func run<Result: Sendable>(_ call: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await self.pool.runIfActive(call)
    }
}
