import Dispatch
import Primitives
import Testing

@Suite("Tasks that block", .timeLimit(.minutes(5)))
struct BlockingExecutorTests {
    private static func wait(for disk: DispatchSemaphore) async { disk.wait() }

    @Test("More tasks than there are cores may block, and the others go on")
    func pool() async {
        let executor = BlockingExecutor(label: "test")
        let disk = DispatchSemaphore(value: 0)
        let blocked = (0..<8).map { _ in
            Task(executorPreference: executor) { await Self.wait(for: disk) }
        }
        for _ in blocked { await Task { _ = disk.signal() }.value }
        for task in blocked { await task.value }
    }
}
