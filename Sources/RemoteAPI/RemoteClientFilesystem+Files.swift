import Transport
import WireFormat

extension RemoteClientFilesystem {
    /// Asks for a file's size; see ``RemoteFilesystem/size(of:urgency:)``.
    public func size(of file: RemotePath, urgency: RequestUrgency) async throws(RemoteError) -> UInt64 {
        let call = RemoteCall(name: "size", method: .get, url: self.url("files", file) + "?init=true")
        return try await self.client.repeating(call, urgency: urgency) { response throws(RemoteError) in
            let size = try JSONBody.decode(FileInfoBody.self, response.body).size
            guard size <= Self.maximumFileByteCount else {
                throw .malformedAnswer("the server names a size that no file here can have: \(size)")
            }
            return size
        }
    }

    /// 16 TiB: what this driver can address.
    private static let maximumFileByteCount: UInt64 = 1 << 44

    /// Reads bytes of a file into a sink; see ``RemoteFilesystem/read(_:_:into:urgency:)``.
    ///
    /// A sink that refuses bytes which were asked for ends the call with `.cancelled`.
    public func read(
        _ file: RemotePath,
        _ range: Range<UInt64>,
        into sink: any BodySink,
        urgency: RequestUrgency
    ) async throws(RemoteError) -> UInt64 {
        let count = UInt64(range.count)
        var delivered: UInt64 = 0
        var progress = ReadProgress(retries: self.client.retry.retries)
        // The end of a body that nothing marked as its end: believed when it is met there a second time.
        var unmarkedEnd: UInt64?
        while delivered < count {
            if delivered > 0 { sink.willJoin() }
            let rest = range.lowerBound + delivered..<range.upperBound
            let call = self.readCall(file, rest)
            let body = SharedBody(sink, limit: UInt64(rest.count))
            let reading = ReadBody(shared: body) { count in
                self.readCall(file, rest.lowerBound + count..<rest.upperBound)
            }
            let result = try await self.client.attempt(call, into: reading, urgency: urgency)
            delivered += body.count
            progress.count(body.count)
            switch result {
            case .success(let response):
                if delivered == count || response.endIsMarked || unmarkedEnd == delivered { return delivered }
                guard progress.hasAttempts else {
                    throw .malformedAnswer("the server's answers end nowhere in particular")
                }
                unmarkedEnd = delivered
            case .failure(let failure):
                if body.wasRefused { throw .cancelled }
                let failure = body.hasOverflowed ? Self.overflow(isFirst: delivered == 0) : failure
                guard progress.mayRepeat(failure) else {
                    throw self.client.givingUp(call, failure, progress.total)
                }
                try await self.client.pause(call, failure, progress.attempts)
            }
        }
        return delivered
    }

    /// What comes in less than a round trip's time anyway, even if others' bytes come between.
    private static let smallByteCount = 64 << 10

    private func readCall(_ file: RemotePath, _ range: Range<UInt64>) -> RemoteCall {
        RemoteCall(
            name: "read",
            method: .get,
            url: self.url("files", file),
            headers: [("Content-Range", ContentRange.download(range))],
            deadline: self.client.retry.deadline(transferring: UInt64(range.count)),
            sharesConnection: range.count <= Self.smallByteCount
        )
    }

    /// More came than was asked for. With nothing delivered it is asked for once more; otherwise what was delivered
    /// may be of another place, as from a server that sent the whole file.
    private static func overflow(isFirst: Bool) -> CallFailure {
        CallFailure(
            error: .malformedAnswer("the server sent more bytes than were asked for"),
            status: 200,
            isTransient: isFirst
        )
    }
}

/// How many attempts a read still has.
private struct ReadProgress {
    let retries: Int
    /// Attempts since there was progress.
    var attempts = 0
    /// All attempts.
    var total = 0
    private var overflows = 0

    /// So many bytes count as progress: a block of the cache.
    private static let block: UInt64 = 64 << 10

    init(retries: Int) { self.retries = retries }

    /// Counts an attempt that delivered so many bytes.
    mutating func count(_ delivered: UInt64) {
        self.total += 1
        self.attempts = delivered >= Self.block ? 1 : self.attempts + 1
    }

    /// Whether the read goes on after a failure. With progress the attempts start anew, but not for ever.
    mutating func mayRepeat(_ failure: CallFailure) -> Bool {
        if case .malformedAnswer = failure.error {
            self.overflows += 1
            if self.overflows > 1 { return false }
        }
        return failure.isTransient && self.attempts <= self.retries && self.hasAttempts
    }

    /// Whether there may be another attempt at all.
    var hasAttempts: Bool { self.total <= 4 * (self.retries + 1) }
}

extension HTTPResponse {
    /// Whether the body's end is where the server said it is, and not only where the connection ended.
    fileprivate var endIsMarked: Bool {
        self.headers["content-length"] != nil
            || self.headers["transfer-encoding"]?.lowercased().contains("chunked") == true
    }
}
