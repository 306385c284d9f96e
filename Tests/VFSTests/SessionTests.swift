import Dispatch
import FuseDriver
import Glibc
import Synchronization
import TestKit
import Testing

// One after another: libfuse has one place for its messages.
@Suite("What the kernel asks first", .serialized, .timeLimit(.minutes(5)))
struct SessionTests {
    /// The kernel's side of a session: libfuse takes a descriptor in place of a mount point.
    private final class Kernel: Sendable {
        private let descriptor: Int32
        let session: FuseSession
        let readyCount = Tally()

        init() throws {
            var pair: [Int32] = [0, 0]
            try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &pair) == 0)
            self.descriptor = pair[0]
            var limit = timeval(tv_sec: 20, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            setsockopt(self.descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
            let mount = try Mount()
            let options = FuseMountOptions(
                source: "test",
                isReadOnly: false,
                allowsOthers: false,
                kernelOptions: []
            )
            let readyCount = self.readyCount
            self.session = try FuseSession(mount.fileSystem, options, logger: mount.log.logger) { _ in
                readyCount.add()
            }
            try self.session.mount(at: "/dev/fd/\(pair[1])")
        }

        deinit { close(self.descriptor) }

        /// Serves until the session's end.
        func run() async -> Result<Int32, FuseSessionError> {
            let session = self.session
            return await withCheckedContinuation { continuation in
                DispatchQueue(label: "loop").async {
                    // Which ends the loop's wait, and which no thread of Dispatch takes.
                    var signals = sigset_t()
                    sigaddset(&signals, SIGUSR2)
                    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
                    continuation.resume(
                        returning: Result { () throws(FuseSessionError) in try session.run(device: nil) }
                    )
                }
            }
        }

        /// Sends FUSE_INIT (linux/fuse.h: 26) of a version.
        func sendInit(_ major: UInt32, _ minor: UInt32) {
            let words: [UInt32] = [56, 26, 1, 0, 0, 0, 0, 0, 0, 0, major, minor, 1 << 20, 0]
            #expect(send(self.descriptor, words, 56, 0) == 56)
        }

        /// The error in the answer to a request: 0, or a negative errno.
        func error() -> Int32 {
            var words = [UInt32](repeating: 0, count: 64)
            let count = recv(self.descriptor, &words, 256, 0)
            return count >= 16 ? Int32(bitPattern: words[1]) : .max
        }
    }

    @Test("A version that libfuse does not speak ends the session, and the reason is told in one line")
    func refused() async throws {
        let kernel = try Kernel()
        kernel.sendInit(6, 0)
        let result = await kernel.run()
        #expect(kernel.error() == -EPROTO && kernel.readyCount.count == 0)
        #expect(throws: FuseSessionError.self) { try result.get() }
        guard case .failure(let error) = result else { return }
        #expect(error.description == "the kernel's FUSE is refused: fuse: unsupported protocol version: 6.0")
    }

    @Test("The mount is ready once the kernel's first request is answered, if need be for another version")
    func taken() async throws {
        let kernel = try Kernel()
        async let result = kernel.run()
        kernel.sendInit(8, 0)
        #expect(kernel.error() == 0)
        kernel.sendInit(7, 31)
        await kernel.readyCount.reached()
        #expect(kernel.error() == 0)
        kernel.session.end()
        #expect(try await result.get() == 0)
        #expect(kernel.readyCount.count == 1)
    }
}
