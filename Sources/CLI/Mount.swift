import CLinux
import Glibc
import Logging
import RemoteAPI
import WireFormat

/// Makes a mount: looks whether it can be, then serves it from here or from a process of its own.
struct Mount {
    private let configuration: MountConfiguration
    private let environment: Environment
    /// There when this process is the driver that ``DriverStart`` started.
    private let pipe: ReadyPipe?

    /// Takes what was resolved.
    init(_ configuration: MountConfiguration, environment: Environment, pipe: ReadyPipe?) {
        self.configuration = configuration
        self.environment = environment
        self.pipe = pipe
    }

    /// Returns once the mount answers from another process; in the foreground, once it is over.
    ///
    /// - Returns: The exit status.
    func run() throws -> Int32 {
        let mountPoint = try MountPoint(self.configuration.mountPoint)
        if self.pipe == nil {
            self.configuration.service.warnings.forEach { Terminal.note($0) }
        }
        try mountPoint.prepare { Terminal.note($0) }
        try FuseDevice.check(allowsOthers: self.configuration.allowsOthers, environment: self.environment)
        try self.makeCacheDirectory()
        if self.configuration.isForeground || self.pipe != nil { return try self.serve() }
        try DriverStart(self.configuration, environment: self.environment).run()
        return ExitStatus.success.rawValue
    }

    /// Each file that is written to, and some that were, hold a local one open: 1024 in all are soon too few.
    private static func allowManyDescriptors() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private func makeCacheDirectory() throws(UserError) {
        do {
            try PrivateDirectory.make(self.configuration.cacheDirectory)
        } catch {
            let shown = Printable.text(self.configuration.cacheDirectory)
            throw UserError(
                "cannot use the cache directory \(shown): \(error); choose another with --cache-dir"
            )
        }
    }

    /// Connects and runs the driver on this thread, which is the main one: libfuse's loop must be there, or it would
    /// notice signals only with the next request.
    private func serve() throws -> Int32 {
        Self.allowManyDescriptors()
        // By default there are eight for each core, which is 15 MiB more with 64 readers beside find over a million names;
        // and curl's buffer of 256 KiB would go back to the kernel with each transfer, and be new memory for the next.
        csystem_limit_heaps(2)
        // Before any thread is started.
        let signals = TerminationSignals()
        let log = LogState(self.configuration.service.logLevel)
        // In the foreground stderr is whoever's it is.
        let file = self.pipe == nil ? nil : self.configuration.logFile
        let logger = LineLog.logger(log, environment: self.environment, file: file)
        if self.pipe != nil {
            self.configuration.service.warnings.forEach { logger.warning("\($0)") }
            // `ps` would call it "exe", after the link that it was started by.
            if let name = fopen("/proc/self/comm", "w") {
                fputs("tetherfs", name)
                fclose(name)
            }
            // Every path is absolute by now; the directory of whoever typed the command must not stay busy.
            chdir("/")
        }
        let connection = try ServiceConnection(
            self.configuration.service,
            // With the one that is busy as many as a stream begins with.
            spareConnections: 7,
            logger: logger
        )
        // Two seconds less than the starter waits, so that it hears why.
        let limit = self.configuration.startLimit - .seconds(2)
        let filesystem = try connection.filesystem(self.configuration.filesystemName, limit: limit)
        let pipe = self.pipe
        let runner = try MountRunner(
            self.configuration,
            filesystemID: filesystem.checkedID,
            connection: connection,
            log: log,
            logger: logger
        )
        return try runner.run(
            signals: signals,
            environment: self.environment,
            ready: {
                guard let pipe else { return }
                // From now on the terminal's signals are not for this process.
                setsid()
                pipe.reportReady()
            }
        )
    }
}
