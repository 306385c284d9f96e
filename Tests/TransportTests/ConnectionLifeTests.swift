import Glibc
import Synchronization
import TestKit
import Testing

@testable import Transport

/// Connections whose other end says nothing any more, as after a firewall forgot them.
@Suite("What the kernel is asked to watch of a connection", .timeLimit(.minutes(5)))
struct ConnectionLifeTests {
    private struct Option: Hashable {
        var level: Int32
        var name: Int32

        static let keepAlive = Option(level: SOL_SOCKET, name: SO_KEEPALIVE)

        static func tcp(_ name: Int32) -> Option { Option(level: Int32(IPPROTO_TCP), name: name) }
    }

    private static let expected: [Option: Int32] = [
        .keepAlive: 1, .tcp(TCP_KEEPIDLE): 30, .tcp(TCP_KEEPINTVL): 15,
        // Later than the request that waits for it ends by itself.
        .tcp(TCP_USER_TIMEOUT): 12_000,
    ]

    /// An option of a socket, as the kernel has it.
    private static func value(of option: Option, of socket: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, option.level, option.name, &value, &length) == 0 ? value : nil
    }

    /// This process's end of a connection to a port.
    private static func socket(to port: UInt16) -> Int32? {
        (0..<Int32(1 << 16)).first { descriptor in
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isConnected = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getpeername(descriptor, $0, &length) == 0
                }
            }
            return isConnected && peer.sin_family == sa_family_t(AF_INET)
                && UInt16(bigEndian: peer.sin_port) == port
        }
    }

    @Test("The kernel asks idle connections whether they live, and ends those whose bytes nobody takes")
    func options() async throws {
        let port = Mutex<UInt16?>(nil)
        let seen = Mutex([Option: Int32]())
        let server = try LoopbackServer { connection in
            while connection.readHead() != nil {
                // While the request is under way, as its end may be seen long after the connection's on a busy machine.
                let socket = port.withLock(\.self).flatMap { Self.socket(to: $0) }
                for option in Self.expected.keys {
                    let value = socket.flatMap { Self.value(of: option, of: $0) }
                    seen.withLock { $0[option] = value }
                }
                connection.answer()
            }
        }
        port.withLock { $0 = server.port }
        let transport = try CurlTransport(TransportOptions())
        var request = HTTPRequest.get(server.url)
        request.stallLimit = .seconds(7)
        _ = try await transport.send(request, into: nil)
        #expect(seen.withLock(\.self) == Self.expected)
    }
}
