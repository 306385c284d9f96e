import CCurl

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Connections that are made before a request needs them, so that it does not wait a round trip for one.
///
/// There is one as soon as curl has made one itself; more once bodies are read, as who reads on needs several at once;
/// and all that there may be once something small is asked for ahead of need, as for who goes through a tree. They are
/// TCP alone; what a server says on one, or its end, makes it useless. With those of curl's they are never more than
/// curl may have, as each new one of curl's is a spare one while there are any.
///
/// It belongs to the loop's thread.
final class SpareConnections {
    private struct Spare {
        let socket: Int32
        let since: ContinuousClock.Instant
    }

    /// Where curl connects to.
    private struct Target: Equatable {
        var family: Int32
        var type: Int32
        var number: Int32
        var address: [UInt8]
    }

    private let maximumCount: Int
    private let maximumConnections: Int
    private var target: Target?
    private var spares: [Spare] = []
    private var wanted = 0
    /// curl's own.
    private var openCount = 0
    /// None is made before that, since one turned out useless.
    private var notBefore: ContinuousClock.Instant?

    private static let pause = Duration.seconds(5)

    /// Makes none yet.
    ///
    /// - Parameters:
    ///   - maximumCount: How many are kept for bodies; with 0 there are none at all.
    ///   - maximumConnections: How many connections there may be, with curl's.
    init(maximumCount: Int, maximumConnections: Int) {
        self.maximumCount = maximumCount
        self.maximumConnections = maximumConnections
    }

    deinit {
        for spare in self.spares { close(spare.socket) }
    }

    /// Several will be needed soon.
    func expectSome() { self.wanted = max(self.wanted, self.maximumCount) }

    /// As many as there may be will be needed soon.
    func expectAll() { self.wanted = self.maximumCount > 0 ? self.maximumConnections : 0 }

    /// Closes those that are too old to be used; no new ones are made until they are needed.
    func closeOld(_ now: ContinuousClock.Instant) {
        guard let first = self.spares.first, now - first.since >= CurlEasy.idleLimit else { return }
        self.wanted = 0
        for spare in self.spares { close(spare.socket) }
        self.spares = []
    }

    /// curl needs a socket: a connected one, or a new one that is not.
    fileprivate func open(_ address: curl_sockaddr, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        let target = Target(
            family: address.family,
            type: address.socktype,
            number: address.protocol,
            address: Array(bytes)
        )
        if target != self.target {
            for spare in self.spares { close(spare.socket) }
            self.spares = []
            self.target = target
        }
        let socket = self.takeConnected() ?? self.makeSocket(target)
        guard socket >= 0 else { return CURL_SOCKET_BAD }
        self.openCount += 1
        self.wanted = max(self.wanted, min(1, self.maximumCount))
        return socket
    }

    fileprivate func closed() { self.openCount -= 1 }

    /// One that is up and on which the server has said nothing.
    private func takeConnected() -> Int32? {
        let now = ContinuousClock.now
        var position = 0
        while position < self.spares.count {
            let spare = self.spares[position]
            switch Self.state(of: spare.socket) {
            case .connecting:
                position += 1
                continue
            case .up where now - spare.since < CurlEasy.idleLimit:
                self.spares.remove(at: position)
                return spare.socket
            case .up:
                close(spare.socket)
                self.spares.remove(at: position)
            case .useless:
                close(spare.socket)
                self.spares.remove(at: position)
                self.notBefore = now + Self.pause
            }
        }
        return nil
    }

    /// Makes those that are missing: to be called once what is to be sent was sent, which is not to wait for them.
    func fill() {
        if let notBefore = self.notBefore, notBefore > .now { return }
        guard let target = self.target else { return }
        while self.spares.count < self.wanted, self.spares.count + self.openCount < self.maximumConnections {
            let socket = self.makeSocket(target)
            if socket < 0 { return }
            let result = target.address.withUnsafeBytes { bytes in
                // What curl gave is an address, of this length.
                bytes.baseAddress.map {
                    connect(socket, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
                }
            }
            guard result == 0 || errno == EINPROGRESS else {
                close(socket)
                self.notBefore = .now + Self.pause
                return
            }
            self.spares.append(Spare(socket: socket, since: .now))
        }
    }

    private func makeSocket(_ target: Target) -> Int32 {
        let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        return socket(target.family, target.type | flags, target.number)
    }

    private enum State {
        case connecting
        case up
        case useless
    }

    private static func state(of socket: Int32) -> State {
        var look = pollfd(fd: socket, events: Int16(POLLIN | POLLOUT), revents: 0)
        guard poll(&look, 1, 0) >= 0 else { return .useless }
        let events = Int32(look.revents)
        if events == 0 { return .connecting }
        return events == POLLOUT ? .up : .useless
    }
}

extension CurlEasy {
    /// Has curl take its sockets from somebody who outlives the multi handle.
    func takeSockets(from spares: SpareConnections) {
        let context = Unmanaged.passUnretained(spares).toOpaque()
        ccurl_set_socket_callbacks(self.handle, openSocket, closeSocket, context)
    }
}

private func openSocket(
    _ context: UnsafeMutableRawPointer?,
    _ purpose: curlsocktype,
    _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let context, let address else { return CURL_SOCKET_BAD }
    let bytes = UnsafeRawBufferPointer(start: ccurl_address(address), count: Int(address.pointee.addrlen))
    // Unretained: the loop's thread holds it until the multi handle is gone.
    return Unmanaged<SpareConnections>.fromOpaque(context).takeUnretainedValue().open(address.pointee, bytes)
}

private func closeSocket(_ context: UnsafeMutableRawPointer?, _ socket: curl_socket_t) -> Int32 {
    if let context { Unmanaged<SpareConnections>.fromOpaque(context).takeUnretainedValue().closed() }
    return close(socket)
}
