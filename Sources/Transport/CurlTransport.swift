import CCurl
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// HTTP on libcurl's multi interface: one thread carries all transfers, over connections that are kept and reused.
///
/// HTTP/2 where an `https` server offers it, HTTP/1.1 otherwise. No redirects, cookies, netrc or compression. Making
/// one starts its thread, so make none before a `fork`; and it has the process ignore SIGPIPE, which OpenSSL's writes
/// to a closed connection would raise.
public final class CurlTransport: HTTPTransport {
    private let loop: CurlLoop
    private let nextID = Atomic<UInt64>(0)

    /// Makes a transport and starts its thread.
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
        self.loop = try CurlLoop.started(options)
    }

    deinit { self.loop.close() }

    /// What was done so far.
    public var counters: TransportCounters { self.loop.counters.withLock { $0 } }

    /// Ends the thread; requests on their way, and all later ones, fail with `.cancelled`.
    public func close() { self.loop.close() }

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
        let id = self.nextID.add(1, ordering: .relaxed).newValue
        let cancellation = CancellationFlag()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.loop.start(
                    CurlTransfer(
                        id: id,
                        request: request,
                        sink: sink,
                        maximumAnswerByteCount: self.loop.options.maximumAnswerByteCount,
                        cancellation: cancellation,
                        continuation: continuation
                    )
                )
            }
        } onCancel: {
            // The flag first: a start that the loop takes up after this command sees it.
            cancellation.isSet.store(true, ordering: .releasing)
            self.loop.cancel(id)
        }
        return try result.get()
    }

    private static let isCurlReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK
    }()
}
