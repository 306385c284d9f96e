import CCurl

extension TransportError {
    /// Says what a transfer that curl gave up ended with.
    ///
    /// - Parameters:
    ///   - code: What curl says.
    ///   - transfer: The transfer.
    ///   - text: curl's words; they name hosts and ports, never headers.
    init(_ code: CURLcode, of transfer: CurlTransfer, text: String) {
        // Before the first byte of the request was sent, the server cannot have acted on it.
        let wasSent = transfer.sendCount > 0
        let line = Self.line(text.isEmpty ? String(cString: curl_easy_strerror(code)) : text)
        switch code {
        case CURLE_URL_MALFORMAT:
            self = .invalidRequest(line)
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_NOT_BUILT_IN:
            // Also an answer without a status line, which curl takes for HTTP/0.9.
            self = wasSent ? .interrupted(line) : .invalidRequest(line)
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY,
            CURLE_INTERFACE_FAILED:
            // curl repeats what died with a kept connection: that nobody takes it the second time says nothing of
            // the first.
            self = wasSent ? .interrupted(line) : .notConnected(line)
        case CURLE_SSL_CONNECT_ERROR where transfer.systemErrorNumber != 0:
            // The connection broke within the handshake; nobody was found untrustworthy.
            self = wasSent ? .interrupted(line) : .notConnected(line)
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CRL_BADFILE,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_CLIENTCERT,
            CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_USE_SSL_FAILED:
            self = .insecure(line)
        case CURLE_OPERATION_TIMEDOUT:
            self = wasSent ? .timedOut : .notConnected(line)
        default:
            // PARTIAL_FILE, RECV_ERROR, SEND_ERROR, GOT_NOTHING, HTTP2, HTTP2_STREAM and whatever else breaks.
            self = wasSent ? .interrupted(line) : .notConnected(line)
        }
    }

    /// One line of printable characters, of bounded length.
    private static func line(_ text: String) -> String {
        let scalars = text.unicodeScalars.prefix(200).map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 }
        return String(String.UnicodeScalarView(scalars))
    }
}

extension CurlTransfer {
    /// The errno of the connection's failure, 0 if there was none.
    fileprivate var systemErrorNumber: Int {
        self.easy.map { ccurl_info_long($0.handle, CURLINFO_OS_ERRNO) } ?? 0
    }

    /// What it ends with when its time is over.
    func timeOut() -> Result<HTTPResponse, TransportError> { self.result(CURLE_OPERATION_TIMEDOUT, text: "") }

    /// What the transfer ended with, from curl's code and curl's words.
    func result(_ code: CURLcode, text: String) -> Result<HTTPResponse, TransportError> {
        switch self.stop {
        case nil where code == CURLE_OK:
            // curl takes the end of a connection for the end of a head.
            guard self.headIsWhole else {
                return .failure(.interrupted("the server closed the connection within its answer"))
            }
            return .success(self.response)
        case .hasEnough: return .success(self.response)
        case .refusedBySink: return .failure(.refusedBySink)
        case .unreadableBody: return .failure(.unreadableBody)
        case .wouldRepeat:
            return .failure(.interrupted("the server closed the connection before it answered"))
        case nil: return .failure(TransportError(code, of: self, text: text))
        }
    }
}
