import Dispatch

/// Runs tasks whose calls may block, each on a thread of its own, off Swift's pool, which is as wide as the cores.
public final class BlockingExecutor: TaskExecutor {
    private let label: String

    /// Makes one.
    ///
    /// - Parameter label: Names its threads.
    public init(label: String) {
        self.label = label
    }

    /// See `TaskExecutor`.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // A queue for each: threads of serial ones are made at once, while concurrent ones share those of Swift's pool.
        DispatchQueue(label: self.label).async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
