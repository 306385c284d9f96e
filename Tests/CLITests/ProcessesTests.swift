import Glibc
import Testing

@testable import CLI

@Suite("Whether other processes run", .timeLimit(.minutes(5)))
struct ProcessesTests {
    @Test("A process whose first thread is over runs for as long as another thread does")
    func firstThreadOver() throws {
        let (toChild, fromChild) = (try Pipe(), try Pipe())
        // exit(2), number 60, ends the calling thread alone.
        let program = """
            import ctypes, os, platform, threading
            threading.Thread(target=os.read, args=(0, 1)).start()
            ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
            """
        let child = try ChildProcess(
            "/usr/bin/python3",
            arguments: ["python3", "-c", program],
            environment: [],
            descriptors: [(toChild.readEnd, 0), (fromChild.writeEnd, 1)]
        )
        close(toChild.readEnd)
        close(fromChild.writeEnd)
        defer { close(fromChild.readEnd) }
        let deadline = ContinuousClock.now + .seconds(20)
        while try firstThreadState(of: child.id) != "Z" {
            try #require(ContinuousClock.now < deadline, "the first thread did not end")
            usleep(1000)
        }
        #expect(Processes.isRunning(child.id))
        close(toChild.writeEnd)
        // Closed by the last thread's end.
        #expect(try Descriptor.read(fromChild.readEnd, limit: 1).isEmpty)
        #expect(child.wait() == 0)
        #expect(!Processes.isRunning(child.id))
    }

    private func firstThreadState(of id: Int32) throws -> Character? {
        let text = String(decoding: try Descriptor.readFile("/proc/\(id)/stat", limit: 4096), as: UTF8.self)
        return text.split(separator: ")").last?.first { $0 != " " }
    }
}
