import NIOPosix

/// Threads for calls that wait for the disk, so that neither event loops nor Swift's own pool do.
struct DiskPool: Sendable {
    private let pool: NIOThreadPool

    /// Starts the threads.
    ///
    /// - Parameter threadCount: How many calls may wait at once. An fsync takes milliseconds and no processor;
    ///   16 let small reads pass a dozen of them.
    init(threadCount: Int = 16) {
        self.pool = NIOThreadPool(numberOfThreads: threadCount)
        self.pool.start()
    }

    /// Runs a call on one of the threads.
    func run<Result: Sendable>(_ call: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await self.pool.runIfActive(call)
    }
}
