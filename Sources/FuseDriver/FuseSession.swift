import CFuse
import Glibc
import Logging
import Synchronization
import VFS

/// Why there is no mount; one line.
public struct FuseSessionError: Error, CustomStringConvertible {
    /// What libfuse said.
    public let description: String
}

/// How a filesystem is mounted.
public struct FuseMountOptions: Sendable {
    /// What is mounted, as /proc/self/mounts shows it.
    public var source: String
    /// Whether nothing can be changed.
    public var isReadOnly: Bool
    /// Whether users other than the one who mounts can use it.
    public var allowsOthers: Bool
    /// Further options for the kernel, such as `nodev`.
    public var kernelOptions: [String]

    /// Makes a set.
    public init(source: String, isReadOnly: Bool, allowsOthers: Bool, kernelOptions: [String]) {
        self.source = source
        self.isReadOnly = isReadOnly
        self.allowsOthers = allowsOthers
        self.kernelOptions = kernelOptions
    }

    /// As libfuse takes them after `-o`.
    var text: String {
        // default_permissions: the kernel decides by the modes that we show, as for any local disk.
        var options = ["fsname=\(Self.escaped(self.source))", "subtype=tetherfs", "default_permissions"]
        if self.isReadOnly { options.append("ro") }
        if self.allowsOthers { options.append("allow_other") }
        options += self.kernelOptions.filter { $0 != "default_permissions" }
        return options.joined(separator: ",")
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing(",", with: "\\,")
    }
}

/// One mount: made, served and ended.
///
/// Its memory stays until the process ends: tasks may answer requests until then.
public final class FuseSession: Sendable {
    /// Unchecked: libfuse's functions that are used from other threads (exit, reply, notify) may be, and so may the
    /// loop's, which locks.
    private struct Pointer: @unchecked Sendable {
        let session: OpaquePointer
        let loop: UnsafeMutablePointer<cfuse_loop>
    }

    private let pointer: Pointer
    private let operations: FuseOperations
    private let isRunning = Mutex(false)

    /// Makes a session; nothing is mounted yet.
    ///
    /// - Parameters:
    ///   - fileSystem: What answers.
    ///   - options: How it is mounted.
    ///   - logger: Told of failures.
    ///   - ready: Called once, when the mount answers, with its `MAJOR:MINOR` if ``run(device:)`` knows it.
    /// - Throws: If libfuse does not take the options.
    public init(
        _ fileSystem: FileSystem,
        _ options: FuseMountOptions,
        logger: Logger,
        ready: @escaping @Sendable (_ device: String?) -> Void
    ) throws(FuseSessionError) {
        FuseLog.start()
        fileSystem.guessSizes { CopySource.size($0, $1) }
        self.operations = FuseOperations(fileSystem, logger: logger, ready: ready)
        // Retained for ever, as requests may come until the process ends.
        let context = Unmanaged.passRetained(self.operations).toOpaque()
        var table = FuseOperations.table()
        var arguments = ["tetherfs", "-o", options.text].map { (text: String) in strdup(text) }
        defer { arguments.forEach { free($0) } }
        guard let session = cfuse_session_new(Int32(arguments.count), &arguments, &table, context) else {
            throw FuseSessionError(description: FuseLog.lastLine ?? "libfuse does not take the options")
        }
        // A read that comes after a write must not be answered before it.
        let loop = cfuse_loop_new(
            session,
            { OpenFile.at($0)?.willWrite($1, count: $2) },
            { context, hasEnded in
                let operations = Unmanaged<FuseOperations>.fromOpaque(context).takeUnretainedValue()
                let agrees = operations.didAnswerInit(hasEnded: hasEnded != 0, complaint: FuseLog.lastLine)
                return agrees ? 0 : -EPROTO
            },
            context
        )
        guard let loop else { throw FuseSessionError(description: String(cString: strerror(ENOMEM))) }
        self.pointer = Pointer(session: session, loop: loop)
        self.operations.notifier.attach(session)
    }

    /// What programs did through it so far.
    public var activity: FuseActivity { self.operations.activity.snapshot }

    /// Mounts; requests wait until ``run()``.
    ///
    /// - Parameter path: The mount point, an absolute path.
    /// - Throws: What libfuse, or fusermount3, says.
    public func mount(at path: String) throws(FuseSessionError) {
        guard cfuse_session_mount(self.pointer.session, path) == 0 else {
            throw FuseSessionError(description: FuseLog.lastLine ?? String(cString: strerror(errno)))
        }
    }

    /// Serves requests until the mount is gone or ``end()`` is called. On the main thread.
    ///
    /// - Parameter device: The mount's `MAJOR:MINOR`, if it is known.
    /// - Returns: 0, or the negative errno that ended it.
    /// - Throws: Why the kernel and libfuse do not agree on anything: then nothing was served.
    public func run(device: String?) throws(FuseSessionError) -> Int32 {
        self.operations.device.withLock { $0 = device }
        // Does nothing but end the wait that the loop is in; without SA_RESTART, as signal(2) would have it.
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGUSR2, &action, nil)
        // What was said until now is not about the kernel's first request.
        FuseLog.forget()
        self.isRunning.withLock { $0 = true }
        // Measured: more than 4 bring nothing measurable; some may wait for the local disk.
        let code = cfuse_loop_run(self.pointer.loop, 8)
        self.isRunning.withLock { $0 = false }
        guard code != -EPROTO else {
            let line = FuseLog.lastLine ?? String(cString: strerror(EPROTO))
            throw FuseSessionError(description: "the kernel's FUSE is refused: \(line)")
        }
        return code
    }

    /// Ends ``run()``, from any thread; it may take a moment.
    public func end() {
        self.operations.isEnding.store(true, ordering: .sequentiallyConsistent)
        fuse_session_exit(self.pointer.session)
        // The loop looks at the flag and then waits: a signal that comes between the two is lost, so it is repeated.
        while true {
            let isRunning = self.isRunning.withLock { isRunning in
                if isRunning { cfuse_loop_wake(self.pointer.loop) }
                return isRunning
            }
            if !isRunning { return }
            usleep(20_000)
        }
    }
}

/// libfuse's own messages: the last one says why a mount did not come to be.
private enum FuseLog {
    private static let line = Mutex<String?>(nil)

    static var lastLine: String? { self.line.withLock { $0 } }

    static func forget() { self.line.withLock { $0 = nil } }

    static func start() {
        cfuse_set_log { _, text in
            let text = String(cString: text).split(separator: "\n").first.map(String.init) ?? ""
            FuseLog.line.withLock { $0 = text }
        }
    }
}
