import Glibc
import Synchronization
import Testing

@testable import CLI

@Suite("The control socket")
struct ControlSocketTests {
    /// A directory of its own for each test, gone afterwards.
    private final class Place {
        let directory: String

        init() throws {
            var template = Array("/tmp/tetherfs-test-XXXXXX".utf8CString)
            _ = try #require(mkdtemp(&template))
            self.directory = String(
                decoding: template.dropLast().map { UInt8(bitPattern: $0) },
                as: UTF8.self
            )
        }

        var socket: String { self.directory + "/s.sock" }

        deinit {
            unlink(self.socket)
            rmdir(self.directory)
        }
    }

    /// Does what waits for a handler on a thread of its own: handlers run on Swift's pool, and so do tests.
    private func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { continuation in
            DetachedThread.start { continuation.resume(with: Result { try body() }) }
        }
    }

    @Test("A request gets progress and then its reply, with the driver's process id")
    func roundTrip() async throws {
        let place = try Place()
        let server = try ControlServer(path: place.socket) { request, progress in
            progress("2 files left")
            progress("1 file left")
            return ControlReply(ok: request.command == .status, message: "said \(request.command.rawValue)")
        }
        defer { server.stop() }
        let socket = place.socket
        try await self.onThread {
            var client = try ControlClient(path: socket, userID: geteuid())
            var lines: [String] = []
            let first = try client.send(.drain) { lines.append($0) }
            #expect(lines == ["2 files left", "1 file left"])
            #expect(!first.ok && first.message == "said drain" && first.processID == getpid())
            #expect(try client.send(.status).ok)
        }
    }

    @Test("A file in the place of a socket is left as it is, and so is a link to one")
    func fileInPlace() throws {
        let place = try Place()
        let target = place.directory + "/file"
        defer { unlink(target) }
        let file = open(target, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        #expect(Descriptor.write("kept", to: file) && close(file) == 0)
        #expect(throws: SystemError(EADDRINUSE)) { try UnixSocket.listen(at: target) }
        #expect(symlink(target, place.socket) == 0)
        #expect(throws: SystemError(EADDRINUSE)) { try UnixSocket.listen(at: place.socket) }
        #expect(FileStatus(of: target)?.isFile == true && FileStatus(of: place.socket) != nil)
    }

    @Test("The socket of a process that is gone is replaced, that of a living one is not")
    func staleSocket() async throws {
        let place = try Place()
        let abandoned = try UnixSocket.make()
        try UnixSocket.bind(abandoned, to: place.socket)
        close(abandoned)
        let server = try ControlServer(path: place.socket) { _, _ in ControlReply(ok: true) }
        defer { server.stop() }
        #expect(throws: UserError.self) {
            try ControlServer(path: place.socket) { _, _ in ControlReply(ok: true) }
        }
        let socket = place.socket
        try await self.onThread {
            var client = try ControlClient(path: socket, userID: geteuid())
            #expect(try client.send(.status).ok)
        }
    }

    @Test("What is no request gets a refusal, and what never ends its line gets nothing")
    func badInput() throws {
        let place = try Place()
        let server = try ControlServer(path: place.socket) { _, _ in ControlReply(ok: true) }
        defer { server.stop() }
        let connection = try UnixSocket.connect(to: place.socket)
        defer { close(connection) }
        #expect(UnixSocket.send(Array("{\"command\":\"fly\"}\n".utf8), to: connection))
        var lines = LineReader(connection)
        guard case .line(let line) = lines.next(milliseconds: 10_000) else {
            Issue.record("no reply")
            return
        }
        #expect(ControlLine.decode(ControlReply.self, line)?.ok == false)
        _ = UnixSocket.send([UInt8](repeating: 0x20, count: 2 * ControlLine.maximumByteCount), to: connection)
        #expect(lines.next(milliseconds: 10_000) == .ended)
    }

    @Test("A handler is cancelled when nobody waits for its reply any more")
    func cancelled() async throws {
        let place = try Place()
        let (ended, continuation) = AsyncStream<Bool>.makeStream()
        let server = try ControlServer(path: place.socket) { _, _ in
            // Ends by its cancellation alone.
            let (never, hold) = AsyncStream<Never>.makeStream()
            for await _ in never {}
            withExtendedLifetime(hold) {}
            continuation.yield(Task.isCancelled)
            return ControlReply(ok: true)
        }
        defer { server.stop() }
        let connection = try UnixSocket.connect(to: place.socket)
        #expect(UnixSocket.send(Array("{\"command\":\"drain\"}\n".utf8), to: connection))
        close(connection)
        #expect(await ended.first { _ in true } == true)
    }

    @Test("Nobody there is told apart from a refusal")
    func absent() throws {
        let place = try Place()
        #expect(throws: ControlClient.Failure.notThere) {
            _ = try ControlClient(path: place.socket, userID: geteuid())
        }
    }

    @Test("A directory that others may enter, or a link to one, is not trusted")
    func untrustedDirectory() throws {
        let place = try Place()
        #expect(PrivateDirectory.isTrusted(place.directory, userID: geteuid()))
        #expect(!PrivateDirectory.isTrusted(place.directory, userID: geteuid() + 1))
        #expect(symlink(place.directory, place.socket) == 0)
        #expect(!PrivateDirectory.isTrusted(place.socket, userID: geteuid()))
        chmod(place.directory, 0o755)
        #expect(!PrivateDirectory.isTrusted(place.directory, userID: geteuid()))
    }

    @Test("A mount point's socket name is its own and fits an address")
    func names() {
        let paths = ["/", "/mnt/a-b", "/mnt/a/b", "/mnt/a\\x2db", "/" + String(repeating: "x", count: 300)]
        let sockets = paths.map { ControlAddress.socket(for: $0, in: "/run/user/4294967294/tetherfs") }
        #expect(Set(sockets).count == paths.count)
        #expect(sockets.allSatisfy { $0.utf8.count <= ControlAddress.maximumByteCount })
        #expect(FilePath.nameStanding(for: "/mnt/a-b", limit: 255) == #"mnt-a\x2db"#)
    }
}
