import Glibc

/// A program that this one started.
///
/// By posix_spawn(3), never by fork: a forked child has none of the threads that Swift, Dispatch and curl started.
struct ChildProcess: Sendable {
    /// Its process id.
    let id: Int32

    /// Starts a program.
    ///
    /// It gets the descriptors named here and no other beyond 2, default signal handling, and no blocked signal.
    ///
    /// - Parameters:
    ///   - program: An absolute path.
    ///   - arguments: With the program's own name as the first.
    ///   - environment: `NAME=value`.
    ///   - descriptors: Which of ours stands at which number of the child's, in this order.
    ///   - isSessionLeader: Whether it leaves the terminal and its signals.
    /// - Throws: If it cannot be started.
    init(
        _ program: String,
        arguments: [String],
        environment: [String],
        descriptors: [(ours: Int32, childs: Int32)],
        isSessionLeader: Bool = false
    ) throws(SystemError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (ours, childs) in descriptors {
            posix_spawn_file_actions_adddup2(&actions, ours, childs)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // POSIX_SPAWN_SETSID (glibc's spawn.h): behind _GNU_SOURCE, which the Glibc module is built without.
        let newSession = isSessionLeader ? 0x80 : 0
        let flags = Int(POSIX_SPAWN_SETSIGMASK) | Int(POSIX_SPAWN_SETSIGDEF) | newSession
        posix_spawnattr_setflags(&attributes, Int16(flags))

        Self.keepDescriptorsToOurselves()
        var id: pid_t = 0
        let code = Self.withStrings(arguments) { arguments in
            Self.withStrings(environment) { environment in
                posix_spawn(&id, program, &actions, &attributes, arguments, environment)
            }
        }
        guard code == 0 else { throw SystemError(code) }
        self.id = id
    }

    /// Runs a program to its end and takes what it wrote to stderr.
    ///
    /// - Parameters:
    ///   - program: An absolute path.
    ///   - arguments: Without the program's own name.
    /// - Returns: Its exit status, 128 more for a signal; the first 64 KiB of what it wrote.
    /// - Throws: If it cannot be started.
    static func run(_ program: String, _ arguments: [String]) throws(SystemError) -> (
        status: Int32, errors: String
    ) {
        let pipe = try Pipe()
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard null >= 0 else { throw SystemError() }
        defer { close(null) }
        let child = try ChildProcess(
            program,
            arguments: [program] + arguments,
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
            descriptors: [(null, 0), (null, 1), (pipe.writeEnd, 2)]
        )
        close(pipe.writeEnd)
        defer { close(pipe.readEnd) }
        var errors: [UInt8] = []
        while errors.count < 64 << 10, let more = try? Descriptor.read(pipe.readEnd, limit: 4096),
            !more.isEmpty
        {
            errors += more
        }
        return (child.wait(), String(decoding: errors, as: UTF8.self))
    }

    /// Waits for its end.
    ///
    /// - Returns: Its exit status, 128 more than the signal's number for one that ended it.
    @discardableResult
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(self.id, &status, 0) < 0 && errno == EINTR {}
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }

    /// Ends it: politely first, then not.
    func end() {
        kill(self.id, SIGTERM)
        for _ in 0..<40 {
            var status: Int32 = 0
            if waitpid(self.id, &status, WNOHANG) != 0 { return }
            usleep(50_000)
        }
        kill(self.id, SIGKILL)
        self.wait()
    }

    /// What the caller of this program left open (a lock, a pipe) is not held by a driver for weeks.
    private static func keepDescriptorsToOurselves() {
        guard let directory = opendir("/proc/self/fd") else { return }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let descriptor = Int32(name), descriptor > STDERR_FILENO { Descriptor.closeOnExec(descriptor) }
        }
    }

    private static func withStrings<Result>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let pointers = strings.map { strdup($0) }
        defer { pointers.forEach { free($0) } }
        return body(pointers + [nil])
    }
}

/// A pipe whose ends stay in this process unless they are handed on.
struct Pipe {
    /// Where bytes come out.
    let readEnd: Int32
    /// Where bytes go in.
    let writeEnd: Int32

    /// Makes one; the caller closes both ends.
    init() throws(SystemError) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw SystemError() }
        self.readEnd = ends[0]
        self.writeEnd = ends[1]
        Descriptor.closeOnExec(self.readEnd)
        Descriptor.closeOnExec(self.writeEnd)
    }
}
