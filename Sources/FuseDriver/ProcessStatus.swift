import Glibc

/// What `/proc/THREAD/status` says of whoever calls (proc(5)).
struct ProcessStatus: Sendable {
    /// The process that the thread belongs to.
    let process: Int32
    /// Signals that wait to be delivered to the thread, one bit each, the lowest for number 1.
    private let pendingSignals: UInt64

    /// Looks a thread up; nothing if it is gone or in no namespace that we see.
    ///
    /// - Parameter thread: The thread's id, as the kernel gives it with a request.
    init?(thread: Int32) {
        guard thread > 0, let text = ProcFile.read("/proc/\(thread)/status") else { return nil }
        self.init(text)
    }

    /// Reads the file's text.
    init?(_ text: some StringProtocol) {
        var process: Int32?
        var masks: [Substring: UInt64] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let value = parts[1].split(whereSeparator: \.isWhitespace).first else {
                continue
            }
            switch parts[0] {
            case "Tgid": process = Int32(value)
            case "SigPnd", "ShdPnd", "SigBlk", "SigIgn":
                masks[Substring(parts[0])] = UInt64(value, radix: 16)
            default: continue
            }
        }
        guard let process else { return nil }
        self.process = process
        let pending = (masks["SigPnd"] ?? 0) | (masks["ShdPnd"] ?? 0)
        self.pendingSignals = pending & ~(masks["SigBlk"] ?? 0) & ~(masks["SigIgn"] ?? 0)
    }

    /// Whether a signal waits that is to end the process, or what it is doing: also where the process handles it.
    ///
    /// The kernel adds SIGKILL for any signal that nobody handles and that ends a process (signal(7)).
    var isAskedToEnd: Bool {
        [SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains { self.pendingSignals & (1 << ($0 - 1)) != 0 }
    }
}
