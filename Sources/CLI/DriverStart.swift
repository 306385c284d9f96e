import Glibc

/// Starts the driver as a process of its own and waits until its mount answers.
///
/// It starts this program anew, with the same arguments: a forked child would have none of the threads that are
/// running by now.
struct DriverStart {
    /// The number of the pipe's descriptor in the driver.
    private static let readyDescriptor: Int32 = 3

    private let configuration: MountConfiguration
    private let environment: Environment

    /// Takes what was resolved, so that the log can be opened and the limit is known.
    init(_ configuration: MountConfiguration, environment: Environment) {
        self.configuration = configuration
        self.environment = environment
    }

    /// Returns once the mount answers.
    ///
    /// - Throws: The driver's own line, or what became of it; no driver is left then.
    func run() throws(UserError) {
        let signals = BlockedSignals()
        defer { signals.unblock() }
        let (driver, pipe) = try self.start()
        defer { close(pipe) }
        let limit = self.configuration.startLimit
        switch StartReport.wait(on: pipe, limit: limit, isInterrupted: { signals.hasArrived }) {
        case .ready: return
        case .failed(let line):
            self.end(driver)
            throw UserError(line, status: .mountFailure)
        case .ended:
            self.end(driver)
            throw UserError(
                "the driver ended before the mount answered; \(self.logHint)",
                status: .mountFailure
            )
        case .timedOut:
            self.end(driver)
            throw UserError(
                "the mount did not answer within \(limit.components.seconds) s; \(self.logHint)",
                status: .mountFailure
            )
        case .interrupted:
            self.end(driver)
            throw UserError("interrupted: nothing is mounted", status: .mountFailure)
        }
    }

    private func start() throws(UserError) -> (driver: ChildProcess, pipe: Int32) {
        do throws(SystemError) {
            let null = open("/dev/null", O_RDWR | O_CLOEXEC)
            guard null >= 0 else { throw SystemError() }
            defer { close(null) }
            let log = try self.openLog()
            defer { if log != STDERR_FILENO { close(log) } }
            let pipe = try Pipe()
            defer { close(pipe.writeEnd) }
            let variables = self.environment.variables
                .filter { $0.key != ReadyPipe.variable }
                .map { "\($0.key)=\($0.value)" }
            let driver: ChildProcess
            do throws(SystemError) {
                driver = try ChildProcess(
                    "/proc/self/exe",
                    arguments: CommandLine.arguments,
                    environment: variables + ["\(ReadyPipe.variable)=\(Self.readyDescriptor)"],
                    // In our process group until it is mounted: to others an automount point does not open before.
                    descriptors: [(null, 0), (null, 1), (log, 2), (pipe.writeEnd, Self.readyDescriptor)]
                )
            } catch {
                close(pipe.readEnd)
                throw error
            }
            return (driver, pipe.readEnd)
        } catch {
            throw UserError("cannot start the driver: \(error); \(self.logHint)", status: .mountFailure)
        }
    }

    /// Where the driver's stderr goes: to the journal if that is where ours goes, else to a file.
    private func openLog() throws(SystemError) -> Int32 {
        guard !self.isJournal else { return STDERR_FILENO }
        try PrivateDirectory.make(self.configuration.cacheDirectory + "/log")
        return try LogFile.open(self.configuration.logFile)
    }

    private var isJournal: Bool { JournalStream.isStandardError(self.environment) }

    private var logHint: String {
        self.isJournal ? "see the journal" : "see \(Printable.text(self.configuration.logFile))"
    }

    /// Ends the driver, and the mount if it had come so far.
    private func end(_ driver: ChildProcess) {
        driver.end()
        guard let mount = try? MountTable.current().mount(at: self.configuration.mountPoint),
            mount.isTetherfs,
            let mountPoint = try? MountPoint(self.configuration.mountPoint),
            mountPoint.state(within: .seconds(2)) == .dead
        else { return }
        try? mountPoint.clearDeadMount()
    }
}

/// The signals that ask this process to end, held back while there is something to end first.
struct BlockedSignals {
    private var signals = sigset_t()
    private var previous = sigset_t()

    /// Holds them back, on this thread.
    init() {
        sigemptyset(&self.signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { sigaddset(&self.signals, signal) }
        pthread_sigmask(SIG_BLOCK, &self.signals, &self.previous)
    }

    /// Whether one of them has come.
    var hasArrived: Bool {
        var pending = sigset_t()
        sigpending(&pending)
        return [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains { sigismember(&pending, $0) == 1 }
    }

    /// Lets them do what they do: one that has come ends the process now.
    func unblock() {
        var previous = self.previous
        pthread_sigmask(SIG_SETMASK, &previous, nil)
    }
}
