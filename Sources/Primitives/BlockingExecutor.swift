import Dispatch

/// Runs tasks whose calls may block, each on a thread of its own, off Swift's pool, which is as wide as the cores.
public final class BlockingExecutor: TaskExecutor {
    private let queue: DispatchQueue

    /// Makes one.
    ///
    /// - Parameter label: Names its threads.
    public init(label: String) {
        self.queue = DispatchQueue(label: label, attributes: .concurrent)
    }

    /// See `TaskExecutor`.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
