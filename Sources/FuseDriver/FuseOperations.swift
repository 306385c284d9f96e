import CFuse
import Glibc
import Inodes
import Logging
import Primitives
import Synchronization
import SystemPackage
import VFS

/// The kernel's requests in, replies out.
///
/// libfuse's threads come in here. What memory can answer is answered where it arrives; all else is left with a task,
/// and the thread goes back. Two kinds of work are told apart when a signal ends a caller's wait: what only looks is
/// cancelled, what changes something goes on to its end, so that what is known here stays what is true.
final class FuseOperations: Sendable {
    let fileSystem: FileSystem
    let logger: Logger
    let interrupts = Interrupts()
    let notifier = KernelNotifier()
    let activity = ActivityCounters()
    /// The mount's `MAJOR:MINOR`.
    let device = Mutex<String?>(nil)
    /// What may wait for the local disk for long.
    private static let blocking = BlockingExecutor(label: "tetherfs.blocking")
    private let ready: @Sendable (_ device: String?) -> Void
    /// The thread on which libfuse took the kernel's FUSE_INIT so far as to ask what is wanted.
    private let beginner = Mutex<pthread_t?>(nil)
    /// Whether the session is being ended, which is no word on what the kernel asked first.
    let isEnding = Atomic(false)

    /// Takes what answers.
    ///
    /// - Parameters:
    ///   - fileSystem: What answers.
    ///   - logger: Told of failures.
    ///   - ready: Called when the kernel's first request is answered, with the mount's device if it is known.
    init(
        _ fileSystem: FileSystem,
        logger: Logger,
        ready: @escaping @Sendable (_ device: String?) -> Void
    ) {
        self.fileSystem = fileSystem
        self.logger = logger
        self.ready = ready
        let (namespace, notifier) = (fileSystem.namespace, self.notifier)
        namespace.whenCrowded { [weak namespace] in namespace.map(notifier.forgetOld) }
    }

    /// The operations that a request belongs to.
    static func driver(of request: fuse_req_t) -> FuseOperations? {
        fuse_req_userdata(request).map { Unmanaged<FuseOperations>.fromOpaque($0).takeUnretainedValue() }
    }

    /// libfuse's table of callbacks. A nonisolated function, so that no closure in it belongs to an actor.
    ///
    /// Left out on purpose: `getxattr` and its kin (each write would ask for `security.capability`), `access` (the
    /// kernel decides by the modes: default_permissions), locks (the kernel keeps them), `lseek` (the kernel takes
    /// all of a file for data), `copy_file_range` and `ioctl`: for each the kernel does the ordinary thing.
    static func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.`init` = { context, connection in
            guard let context, let connection else { return }
            Unmanaged<FuseOperations>.fromOpaque(context).takeUnretainedValue().begin(&connection.pointee)
        }
        self.setNames(&table)
        self.setDirectories(&table)
        self.setFiles(&table)
        return table
    }

    private func begin(_ connection: inout fuse_conn_info) {
        // Measured: splicing is never faster here.
        connection.want &= ~UInt32(cfuse_cap_splice)
        // Setuid and setgid bits go by a write, a cut or another owner. The kernel sends a setattr for that, unless it is
        // told that we do it, as libfuse does by itself from some version on.
        connection.want &= ~UInt32(cfuse_cap_handle_killpriv)
        // Each stream has two reads under way at most: the default of 12 in all is for local disks.
        connection.max_background = 64
        connection.congestion_threshold = 48
        connection.time_gran = 1
        self.beginner.withLock { $0 = pthread_self() }
    }

    /// libfuse has answered the kernel's FUSE_INIT, which may come twice until they agree on a version.
    ///
    /// - Parameters:
    ///   - hasEnded: Whether the session has ended by then: with that, or as ``isEnding`` says.
    ///   - complaint: What it said meanwhile.
    /// - Returns: Whether they agree, or may.
    func didAnswerInit(hasEnded: Bool, complaint: String?) -> Bool {
        // Another version may have been agreed on by another thread since the answer to this one's went out.
        let hasBegun = self.beginner.withLock { $0 == pthread_self() }
        if self.isEnding.load(ordering: .sequentiallyConsistent) { return true }
        guard !hasEnded, hasBegun || complaint == nil else { return false }
        if hasBegun { self.ready(self.device.withLock(\.self)) }
        return true
    }

    /// Answers a request from a task.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - operation: Its name, for the log.
    ///   - changes: Whether the work changes something, so that it goes on when nobody waits for it any more.
    ///   - blocks: Whether the work may wait for the local disk for long: neither this thread nor the pool's do that.
    ///   - work: The work.
    ///   - reply: Sends the work's result.
    ///   - undo: Called with the result if the kernel did not take it.
    func later<Value: Sendable>(
        _ request: fuse_req_t,
        _ operation: StaticString,
        changes: Bool = false,
        blocks: Bool = false,
        _ work: @escaping @Sendable () async throws(FileSystemError) -> Value,
        reply: @escaping @Sendable (fuse_req_t, Value) -> Int32,
        undo: @escaping @Sendable (Value) -> Void = { _ in }
    ) {
        let pending = PendingRequest(request, self.interrupts)
        let operate: @Sendable () async -> Void = {
            do throws(FileSystemError) {
                let value = try await work()
                if !pending.answer({ reply($0, value) }) { undo(value) }
            } catch {
                self.note(operation, error)
                pending.fail(error.errno)
            }
        }
        // Up to where it waits it is done here: a switch of threads less for each request.
        let task =
            blocks
            ? Task(executorPreference: Self.blocking, operation: operate) : Task.immediate(operation: operate)
        pending.allowInterruption { if !changes { task.cancel() } }
    }

    /// Answers a request whose work returns nothing.
    func later(
        _ request: fuse_req_t,
        _ operation: StaticString,
        changes: Bool = false,
        blocks: Bool = false,
        _ work: @escaping @Sendable () async throws(FileSystemError) -> Void
    ) {
        self.later(
            request,
            operation,
            changes: changes,
            blocks: blocks,
            work,
            reply: { request, _ in fuse_reply_err(request, 0) }
        )
    }

    /// Answers a request where it arrives.
    func now(
        _ request: fuse_req_t,
        _ operation: StaticString,
        _ body: () throws(FileSystemError) -> Void
    ) {
        do throws(FileSystemError) {
            try body()
        } catch {
            self.fail(request, operation, error)
        }
    }

    func fail(_ request: fuse_req_t, _ operation: StaticString, _ error: FileSystemError) {
        self.note(operation, error)
        fuse_reply_err(request, error.errno.rawValue)
    }

    /// Writes down what went wrong with the service or the disk; what a program merely asked in vain is no event.
    func note(_ operation: StaticString, _ error: FileSystemError) {
        switch error {
        case .remote, .local, .stale, .changedOnServer:
            self.logger.warning(
                "an operation failed",
                metadata: ["op": "\(operation)", "errno": "\(error.errno)", "cause": "\(error)"]
            )
        default: break
        }
    }

    /// Answers with a name that was looked up or made.
    static func replyEntry(_ request: fuse_req_t, _ reply: LookupReply) -> Int32 {
        var entry = Replies.entry(reply)
        return fuse_reply_entry(request, &entry)
    }

    /// Takes back a lookup that the kernel did not hear of.
    func forget(_ reply: LookupReply) {
        if case .entry(let attributes, _, _) = reply { self.fileSystem.forget(attributes.inode, count: 1) }
    }

    static func name(_ bytes: UnsafePointer<CChar>?) -> [UInt8] {
        guard let bytes else { return [] }
        return Array(UnsafeRawBufferPointer(start: bytes, count: strlen(bytes)))
    }
}

extension InodeNumber {
    /// The kernel's number.
    init(_ inode: fuse_ino_t) { self.init(rawValue: inode) }
}
