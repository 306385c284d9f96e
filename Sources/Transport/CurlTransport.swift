import CCurl
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// HTTP on libcurl's multi interface: one thread carries all transfers, over connections that are kept and reused.
///
/// What shares connections goes over HTTP/2 where an `https` server offers it, all at once over one connection, and has
/// a thread of its own, since libcurl remembers of a host only whether it speaks HTTP/2 or not. What has a connection
/// to itself goes over HTTP/1.1; so does all where the server speaks no HTTP/2, and for a minute after a request that
/// shared a connection was not answered in time. No redirects, cookies, netrc or compression. Making one starts its
/// threads, so make none before a `fork`; and it has the process ignore SIGPIPE, which OpenSSL's writes to a closed
/// connection would raise.
public final class CurlTransport: HTTPTransport {
    /// Carries what has a connection to itself, and everything over plain HTTP.
    private let loop: CurlLoop
    /// Carries what shares connections.
    private let sharing: CurlLoop
    private let sharingHistory = Mutex(SharingHistory())
    private let nextID = Atomic<UInt64>(0)

    /// Enough for all that is on the way, with eight streams each. A server without HTTP/2 sees no more than these
    /// beside the others, and only until its first answer.
    private static let sharedConnectionCount = 8

    /// Makes a transport and starts its threads.
    ///
    /// - Parameter options: How to connect.
    /// - Throws: `.invalidRequest` if libcurl cannot start, or a TLS file cannot be read.
    public init(_ options: TransportOptions = TransportOptions()) throws(TransportError) {
        for file in [
            options.tls.authoritiesFile, options.tls.clientCertificateFile, options.tls.clientKeyFile,
        ] {
            if let file, access(file, R_OK) != 0 {
                let reason = String(cString: strerror(errno))
                throw .invalidRequest("the TLS file \(file) cannot be read: \(reason)")
            }
        }
        guard Self.isCurlReady else { throw .invalidRequest("libcurl cannot be initialised") }
        self.loop = try CurlLoop.started(options, connections: options.maximumConnections)
        do {
            let count = min(options.maximumConnections, Self.sharedConnectionCount)
            // One connection carries all of these.
            var options = options
            options.spareConnections = 0
            self.sharing = try CurlLoop.started(options, connections: count)
        } catch {
            self.loop.close()
            throw error
        }
    }

    deinit { self.close() }

    /// What was done so far.
    public var counters: TransportCounters {
        self.loop.currentCounters + self.sharing.currentCounters
    }

    /// Ends the threads; requests on their way, and all later ones, fail with `.cancelled`.
    public func close() {
        self.loop.close()
        self.sharing.close()
    }

    /// Sends one request.
    ///
    /// POST and DELETE go out at most once. A GET or PUT that meets a kept connection which the server has just
    /// closed, before a byte of an answer, is sent again by curl on another one.
    ///
    /// - Parameters:
    ///   - request: What to send.
    ///   - sink: Where the body of a 200 goes, on the transport's thread, straight from curl's buffer.
    /// - Returns: The response, whatever its status.
    /// - Throws: What kept a whole response from arriving.
    public func send(
        _ request: HTTPRequest,
        into sink: (any BodySink)?
    ) async throws(TransportError) -> HTTPResponse {
        // Over plain HTTP none shares one.
        let isShared =
            request.sharesConnection && request.isEncrypted
            && self.sharingHistory.withLock { $0.isAdvised(at: .now) }
        var request = request
        request.sharesConnection = isShared
        let result = await self.send(request, into: sink, over: isShared ? self.sharing : self.loop)
        if isShared { self.sharingHistory.withLock { $0.note(result, at: .now) } }
        return try result.get()
    }

    private func send(
        _ request: HTTPRequest,
        into sink: (any BodySink)?,
        over loop: CurlLoop
    ) async -> Result<HTTPResponse, TransportError> {
        let id = self.nextID.add(1, ordering: .relaxed).newValue
        let cancellation = CancellationFlag()
        // The flag first: a start that the loop takes up after this command sees it.
        let cancel: @Sendable () -> Void = {
            cancellation.isSet.store(true, ordering: .releasing)
            loop.cancel(id)
        }
        request.handle?.whenStopped(cancel)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.start(
                    CurlTransfer(
                        id: id,
                        request: request,
                        sink: sink,
                        traffic: loop.traffic,
                        cancellation: cancellation,
                        resumption: { loop.resume(id) },
                        continuation: continuation
                    )
                )
            }
        } onCancel: {
            cancel()
        }
    }

    private static let isCurlReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK
    }()
}

extension HTTPRequest {
    fileprivate var isEncrypted: Bool { self.url.prefix(6).lowercased() == "https:" }
}
