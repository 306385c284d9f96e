import Glibc
import TestKit
import Testing

@testable import Transport

/// Connections whose other end says nothing any more, as after a firewall forgot them.
@Suite("What the kernel is asked to watch of a connection", .timeLimit(.minutes(1)))
struct ConnectionLifeTests {
    /// An option of a socket, as the kernel has it.
    private static func option(_ socket: Int32, _ level: Int32, _ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, level, name, &value, &length) == 0 ? value : nil
    }

    /// This process's end of a connection to a port.
    private static func socket(to port: UInt16) -> Int32? {
        (0..<Int32(4096)).first { descriptor in
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
        let server = try LoopbackServer { connection in
            while connection.readHead() != nil { connection.answer() }
        }
        let transport = try CurlTransport(TransportOptions())
        var request = HTTPRequest.get(server.url)
        request.stallLimit = .seconds(7)
        _ = try await transport.send(request, into: nil)
        let socket = try #require(Self.socket(to: server.port))
        let tcp = Int32(IPPROTO_TCP)
        #expect(Self.option(socket, SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(Self.option(socket, tcp, TCP_KEEPIDLE) == 30)
        #expect(Self.option(socket, tcp, TCP_KEEPINTVL) == 15)
        // Later than the request that waits for it ends by itself.
        #expect(Self.option(socket, tcp, TCP_USER_TIMEOUT) == 12_000)
    }
}
