import CLinux
import Glibc

/// Tells systemd how the service goes, where the mount runs as one of Type=notify; see sd_notify(3).
struct ServiceNotification: Sendable {
    private let address: [UInt8]
    /// How often systemd wants to hear that the driver is alive, twice over; nothing if it does not.
    private let watchdogInterval: Duration?

    /// Takes what systemd left in the environment; nothing if it does not listen.
    init?(_ environment: Environment) {
        guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/") || path.hasPrefix("@") else {
            return nil
        }
        var bytes = Array(path.utf8)
        // An abstract socket: unix(7).
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        guard bytes.count <= ControlAddress.maximumByteCount else { return nil }
        self.address = bytes
        // sd_watchdog_enabled(3): for this process alone if WATCHDOG_PID is set.
        let isForUs = environment["WATCHDOG_PID"].map { Int32($0) == getpid() } ?? true
        self.watchdogInterval =
            isForUs ? environment["WATCHDOG_USEC"].flatMap(Int64.init).map { .microseconds($0) / 2 } : nil
    }

    /// The mount answers.
    func ready(_ status: String) { self.send("READY=1\nSTATUS=\(status)") }

    /// It is ending: what waits is being uploaded.
    func stopping(_ status: String) { self.send("STOPPING=1\nSTATUS=\(status)") }

    /// Keeps systemd told, on a thread of its own, for as long as this process lives.
    ///
    /// - Parameters:
    ///   - mountPoint: Asked for its numbers before each heartbeat, which a driver that hangs does not answer.
    ///   - waiting: What the end waits for, another text each time that something of it was sent; nothing if it has not
    ///     begun, or all is uploaded.
    func keepTelling(about mountPoint: String, waiting: @escaping @Sendable () -> String?) {
        DetachedThread.start {
            // Nothing ends a thread that waits for an answer which nobody is left to give. Without /dev/fuse it does not keep
            // the mount served once all others are killed, and then it ends too.
            csystem_leave_descriptors(UInt32(STDERR_FILENO) + 1)
            let pause = min(self.watchdogInterval ?? Self.longestPause, Self.longestPause)
            var last: String?
            while true {
                usleep(UInt32(pause / .microseconds(1)))
                var statistics = statvfs()
                if statvfs(mountPoint, &statistics) == 0 || !SystemError().isOfDeadMount {
                    self.send("WATCHDOG=1")
                }
                guard let now = waiting(), now != last else { continue }
                // As long as it goes on, and no longer.
                self.send("EXTEND_TIMEOUT_USEC=\(Self.extensionInMicroseconds)\nSTATUS=ending: \(now)")
                last = now
            }
        }
    }

    private static let longestPause = Duration.seconds(10)
    private static let extensionInMicroseconds = 90_000_000

    // systemd that does not take it at once is not waited for: it has ended, or hears the next one.
    private func send(_ message: String) { UnixSocket.sendDatagram(Array(message.utf8), to: self.address) }
}
