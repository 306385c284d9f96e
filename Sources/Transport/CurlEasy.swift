import CCurl

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One easy handle, used for one transfer after another.
///
/// It belongs to the loop's thread.
final class CurlEasy {
    let handle: OpaquePointer
    private let errorText: UnsafeMutablePointer<CChar>
    private var headers: UnsafeMutablePointer<curl_slist>?

    /// How long a connection may be idle and still be used: less than the 60 s after which common servers and balancers
    /// close one.
    static let idleLimit = Duration.seconds(55)

    init?() {
        guard let handle = curl_easy_init() else { return nil }
        self.handle = handle
        self.errorText = .allocate(capacity: Int(ccurl_error_size))
        self.errorText.initialize(repeating: 0, count: Int(ccurl_error_size))
    }

    deinit {
        curl_easy_cleanup(self.handle)
        curl_slist_free_all(self.headers)
        self.errorText.deallocate()
    }

    /// What curl said of the last failure; empty if it said nothing.
    var failureText: String { String(cString: self.errorText) }

    /// When the certificate that the server showed ends, in seconds since 1970, where that was asked for and is known.
    var certificateEnd: Int64? {
        guard let chain = ccurl_info_certificates(self.handle)?.pointee, chain.num_of_certs > 0 else {
            return nil
        }
        // The first is the server's own.
        var field = chain.certinfo[0]
        while let entry = field?.pointee {
            // As OpenSSL writes it: `Expire date:Nov 26 14:22:44 2026 GMT`.
            let name = "Expire date:"
            if let text = entry.data, strncmp(text, name, name.utf8.count) == 0 {
                let end = curl_getdate(text + name.utf8.count, nil)
                return end < 0 ? nil : Int64(end)
            }
            field = entry.next
        }
        return nil
    }

    /// Forgets the last transfer; connections and names resolved stay with the multi handle.
    func reset() {
        curl_easy_reset(self.handle)
        curl_slist_free_all(self.headers)
        self.headers = nil
        self.errorText[0] = 0
    }

    /// Sets everything up for a transfer, which must outlive its being attached.
    ///
    /// - Throws: `.invalidRequest` if curl does not take it.
    func prepare(for transfer: CurlTransfer, _ options: TransportOptions) throws(TransportError) {
        let request = transfer.request
        ccurl_set_pointer(self.handle, CURLOPT_ERRORBUFFER, self.errorText)
        self.setLimits(request, options)
        try self.setConnection(request, options)
        try self.require(ccurl_set_text(self.handle, CURLOPT_URL, request.url), "the URL")
        try self.setHeaders(request.headers)
        try self.setBody(request)
        self.setCallbacks(Unmanaged.passUnretained(transfer).toOpaque())
    }

    private func setLimits(_ request: HTTPRequest, _ options: TransportOptions) {
        // Time-outs without SIGALRM, which would hit any thread.
        self.set(CURLOPT_NOSIGNAL, 1)
        // The loop looks after those that may pause.
        if case .reader = request.body {
        } else {
            self.set(CURLOPT_TIMEOUT_MS, request.deadline.milliseconds)
        }
        self.set(CURLOPT_CONNECTTIMEOUT_MS, min(options.connectTimeout, request.deadline).milliseconds)
        // Measured: 30 to 50 % on plain HTTP, 20 to 30 % on uploads.
        self.set(CURLOPT_BUFFERSIZE, 256 << 10)
        self.set(CURLOPT_UPLOAD_BUFFERSIZE, 512 << 10)
    }

    private func setConnection(
        _ request: HTTPRequest,
        _ options: TransportOptions
    ) throws(TransportError) {
        let version = request.sharesConnection ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1
        self.set(CURLOPT_HTTP_VERSION, Int(version))
        // Rather waits for a connection that is being made, to see whether it can carry this one too.
        self.set(CURLOPT_PIPEWAIT, request.sharesConnection ? 1 : 0)
        self.set(CURLOPT_TCP_NODELAY, 1)
        self.set(CURLOPT_TCP_KEEPALIVE, 1)
        self.set(CURLOPT_TCP_KEEPIDLE, 30)
        self.set(CURLOPT_TCP_KEEPINTVL, 15)
        // A little longer than requests wait, so that each of them ends by its own limit.
        let silenceLimit = request.stallLimit + .seconds(5)
        ccurl_set_silence_limit(self.handle, UInt32(silenceLimit.milliseconds))
        self.set(CURLOPT_MAXAGE_CONN, Int(Self.idleLimit.components.seconds))
        self.set(CURLOPT_FOLLOWLOCATION, 0)
        self.set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        self.set(CURLOPT_PATH_AS_IS, 1)
        self.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        self.set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        ccurl_set_text(self.handle, CURLOPT_USERAGENT, options.userAgent)
        try self.require(ccurl_set_text(self.handle, CURLOPT_PROTOCOLS_STR, "http,https"), "the protocols")
        let tls = options.tls
        self.set(CURLOPT_CERTINFO, request.asksForCertificate ? 1 : 0)
        self.set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        self.set(CURLOPT_SSL_VERIFYPEER, tls.verifiesCertificate ? 1 : 0)
        self.set(CURLOPT_SSL_VERIFYHOST, tls.verifiesCertificate ? 2 : 0)
        for (option, file) in [
            (CURLOPT_CAINFO, tls.authoritiesFile), (CURLOPT_SSLCERT, tls.clientCertificateFile),
            (CURLOPT_SSLKEY, tls.clientKeyFile),
        ] {
            guard let file else { continue }
            try self.require(ccurl_set_text(self.handle, option, file), "the TLS file \(file)")
        }
    }

    private func setHeaders(_ headers: [(name: String, value: String)]) throws(TransportError) {
        // Empty values take a header of curl's own away: no wait for a 100 Continue before a body, and no type
        // of a web form for a POST.
        var lines = ["Expect:"]
        if !headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            lines.append("Content-Type:")
        }
        for (name, value) in headers {
            guard !name.isEmpty,
                name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ":") }),
                value.utf8.allSatisfy({ $0 != 0 && $0 != 10 && $0 != 13 })
            else { throw .invalidRequest("a header cannot be sent") }
            // With a colon and no value, curl would send nothing.
            lines.append(value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        for line in lines {
            guard let list = curl_slist_append(self.headers, line) else {
                throw .invalidRequest("out of memory")
            }
            self.headers = list
        }
        try self.require(ccurl_set_list(self.handle, CURLOPT_HTTPHEADER, self.headers), "the headers")
    }

    private func setBody(_ request: HTTPRequest) throws(TransportError) {
        var bytes: [UInt8]?
        switch request.body {
        case .none: bytes = request.method == .post || request.method == .put ? [] : nil
        case .bytes(let given): bytes = given
        case .reader(let reader) where reader.count == 0: bytes = []
        case .reader(let reader):
            guard let count = curl_off_t(exactly: reader.count) else {
                throw .invalidRequest("the body is too large")
            }
            self.set(CURLOPT_UPLOAD, 1)
            ccurl_set_offset(self.handle, CURLOPT_INFILESIZE_LARGE, count)
            ccurl_set_text(self.handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
            return
        }
        guard let bytes else {
            self.set(CURLOPT_HTTPGET, 1)
            if request.method != .get {
                ccurl_set_text(self.handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
            }
            return
        }
        self.set(CURLOPT_POST, 1)
        ccurl_set_offset(self.handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(bytes.count))
        // curl copies so many bytes; an empty array has no address, and for an empty body none is read.
        let code = bytes.withUnsafeBytes { bytes in
            bytes.isEmpty
                ? ccurl_set_text(self.handle, CURLOPT_COPYPOSTFIELDS, "")
                : ccurl_set_pointer(self.handle, CURLOPT_COPYPOSTFIELDS, bytes.baseAddress)
        }
        try self.require(code, "the body")
        ccurl_set_text(self.handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
    }

    private func setCallbacks(_ context: UnsafeMutableRawPointer) {
        ccurl_set_pointer(self.handle, CURLOPT_PRIVATE, context)
        ccurl_set_pointer(self.handle, CURLOPT_WRITEDATA, context)
        ccurl_set_pointer(self.handle, CURLOPT_HEADERDATA, context)
        ccurl_set_pointer(self.handle, CURLOPT_READDATA, context)
        ccurl_set_pointer(self.handle, CURLOPT_SEEKDATA, context)
        ccurl_set_pointer(self.handle, CURLOPT_PREREQDATA, context)
        ccurl_set_data_callback(self.handle, CURLOPT_WRITEFUNCTION, receiveBody)
        ccurl_set_data_callback(self.handle, CURLOPT_HEADERFUNCTION, receiveHeader)
        ccurl_set_data_callback(self.handle, CURLOPT_READFUNCTION, provideBody)
        ccurl_set_seek_callback(self.handle, seekBody)
        ccurl_set_prerequest_callback(self.handle, willSend)
    }

    /// Sets what this libcurl may lack, such as HTTP/2, and what cannot fail.
    private func set(_ option: CURLoption, _ value: Int) {
        ccurl_set_long(self.handle, option, value)
    }

    private func require(_ code: CURLcode, _ what: String) throws(TransportError) {
        guard code == CURLE_OK else {
            throw .invalidRequest("curl does not take \(what): \(String(cString: curl_easy_strerror(code)))")
        }
    }
}

// What curl calls, on the loop's thread. They are functions of the file, so that none belongs to an actor.

private func transfer(_ context: UnsafeMutableRawPointer?) -> CurlTransfer? {
    // Unretained: the loop holds every attached transfer.
    context.map { Unmanaged<CurlTransfer>.fromOpaque($0).takeUnretainedValue() }
}

private func receiveBody(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    let buffer = UnsafeRawBufferPointer(start: bytes, count: size * count)
    // Any other count than was given ends the transfer with CURLE_WRITE_ERROR.
    return transfer(context)?.receive(buffer) == true ? buffer.count : 0
}

private func receiveHeader(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
    transfer(context)?.receiveHeader(line)
    return line.count
}

private func provideBody(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    let buffer = UnsafeMutableRawBufferPointer(start: bytes, count: size * count)
    return switch transfer(context)?.provide(buffer) {
    case .bytes(let count): count
    case .later: Int(ccurl_read_pause)
    case .nothing, nil: Int(ccurl_read_abort)
    }
}

private func seekBody(_ context: UnsafeMutableRawPointer?, _ offset: curl_off_t, _ origin: Int32) -> Int32 {
    // curl only ever seeks from the start (SEEK_SET, 0).
    origin == 0 && transfer(context)?.seek(to: Int64(offset)) == true ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
}

private func willSend(
    _ context: UnsafeMutableRawPointer?,
    _ remoteAddress: UnsafeMutablePointer<CChar>?,
    _ localAddress: UnsafeMutablePointer<CChar>?,
    _ remotePort: Int32,
    _ localPort: Int32
) -> Int32 {
    transfer(context)?.willSend() == true ? CURL_PREREQFUNC_OK : Int32(ccurl_prerequest_abort)
}

extension Duration {
    /// Whole milliseconds, at least 1 and no more than curl takes (a C `int`).
    fileprivate var milliseconds: Int {
        let (seconds, attoseconds) = self.components
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}
