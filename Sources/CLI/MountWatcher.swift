import ArgumentParser
import Glibc

/// Takes a mount away when its driver has died, so that no program meets "Transport endpoint is not connected" for ever.
///
/// A process of its own beside the driver, which holds the other end of a pipe: its end, however it comes, is seen at
/// once. What is to be watched comes through that pipe, so that the process list shows the driver alone with it.
struct MountWatcher: Sendable {
    /// The command that this program is started with for it; nobody types it.
    static let command = "watch-mount"

    private let process: ChildProcess
    private let pipe: Int32

    /// Starts one for a mount of this process, to live exactly as long.
    ///
    /// - Parameters:
    ///   - mountPoint: The absolute path.
    ///   - device: The mount's `MAJOR:MINOR`.
    ///   - logFile: The file that is logged to if stderr is not the journal; nothing if that is wherever stderr leads.
    ///   - environment: Says whether stderr is the journal.
    /// - Returns: It, which ends with this process if it is not ended before.
    /// - Throws: If it cannot be started: then a dead mount is cleared by the next mount there, or `tetherfs unmount`.
    static func start(
        mountPoint: String,
        device: String,
        logFile: String?,
        environment: Environment
    ) throws(SystemError) -> MountWatcher {
        let pipe = try Pipe()
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard null >= 0 else { throw SystemError() }
        defer { close(null) }
        defer { close(pipe.readEnd) }
        // Where the driver's own lines go: the journal takes a stream by what JOURNAL_STREAM names.
        let stream = environment["JOURNAL_STREAM"].map { ["JOURNAL_STREAM=\($0)"] } ?? []
        let process: ChildProcess
        do throws(SystemError) {
            process = try ChildProcess(
                "/proc/self/exe",
                arguments: ["tetherfs", Self.command],
                environment: stream,
                descriptors: [(pipe.readEnd, 0), (null, 1), (STDERR_FILENO, 2)],
                isSessionLeader: true
            )
        } catch {
            close(pipe.writeEnd)
            throw error
        }
        // Stays open until the driver's end; shorter than what a pipe holds.
        Descriptor.write([device, mountPoint, logFile ?? ""].joined(separator: "\0"), to: pipe.writeEnd)
        return MountWatcher(process: process, pipe: pipe.writeEnd)
    }

    /// Ends it, once the mount is gone: it has the log open, and with it the disk of the cache directory, which whoever
    /// unmounted may want to unmount next.
    func end() {
        close(self.pipe)
        self.process.wait()
    }

    /// Waits for the driver's end on stdin; what it leaves dead is taken away.
    static func run(environment: Environment) {
        // The driver ends in its own time when it is asked to; the mount is not dead before.
        for signal in [SIGTERM, SIGINT, SIGHUP] { Glibc.signal(signal, SIG_IGN) }
        var bytes: [UInt8] = []
        while let more = try? Descriptor.read(STDIN_FILENO, limit: 4096), !more.isEmpty { bytes += more }
        let parts = bytes.split(separator: 0, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        guard parts.count == 3, let mountPoint = try? MountPoint(parts[1]) else { return }
        // The one that is open here may have become an earlier one.
        if !parts[2].isEmpty, !JournalStream.isStandardError(environment),
            let log = try? LogFile.open(parts[2])
        {
            dup2(log, STDERR_FILENO)
        }
        let logger = LineLog.logger(LogState(.info), environment: environment)
        // The kernel may need a moment until it knows the driver gone, and for a mount that is busy.
        for attempt in 0..<50 {
            if attempt > 0 { usleep(100_000) }
            guard let mount = try? MountTable.current().mount(at: mountPoint.path), mount.device == parts[0]
            else {
                return
            }
            let state = mountPoint.state(within: .seconds(5))
            // Another mount by now: the kernel gives the numbers of devices anew.
            if state == .directory { return }
            guard state == .dead, (try? mountPoint.clearDeadMount()) != nil else { continue }
            logger.error(
                "the driver died; its mount was taken away, and the next mount uploads what was closed and not uploaded",
                metadata: ["mountpoint": "\(mountPoint.path)"]
            )
            return
        }
        logger.error(
            "the driver died; its mount cannot be taken away",
            metadata: ["mountpoint": "\(parts[1])"]
        )
    }
}

/// `tetherfs watch-mount`, which the driver starts.
struct WatchMountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: MountWatcher.command,
        abstract: "Started by the driver: takes its mount away should it die.",
        shouldDisplay: false
    )

    func run() { MountWatcher.run(environment: .current) }
}
