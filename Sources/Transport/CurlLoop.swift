import CCurl
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The way to the thread that owns the multi handle: what others want of it waits in its inbox.
final class CurlLoop: Sendable {
    /// What the thread is asked to do.
    enum Command: Sendable {
        case start(CurlTransfer)
        case cancel(UInt64)
        case resume(UInt64)
    }

    /// What waits for the thread. It is bounded by the callers: each has one transfer here at a time.
    private struct Inbox {
        var commands: [Command] = []
        /// Once set, nothing is taken in and nobody wakes the thread, which then may free the multi handle.
        var isClosed = false
    }

    /// The multi handle.
    ///
    /// Unchecked: `curl_multi_wakeup` may be called from any thread, and is called under the inbox's lock only
    /// while it is open; everything else is the loop thread's.
    struct Multi: @unchecked Sendable {
        let handle: OpaquePointer
    }

    let options: TransportOptions
    /// How many connections there are at most.
    let connectionCount: Int
    let multi: Multi
    /// All but the bytes.
    private let counters = Mutex(TransportCounters())
    let traffic = TrafficCounters()
    private let inbox = Mutex(Inbox())

    private init(_ options: TransportOptions, connections count: Int, _ multi: Multi) {
        self.options = options
        self.connectionCount = count
        self.multi = multi
    }

    /// Makes a loop with its thread, and so many connections at most, open or idle.
    static func started(
        _ options: TransportOptions,
        connections count: Int
    ) throws(TransportError) -> CurlLoop {
        guard let handle = curl_multi_init() else { throw .invalidRequest("libcurl cannot be initialised") }
        ccurl_multi_set_long(handle, CURLMOPT_MAX_HOST_CONNECTIONS, count)
        ccurl_multi_set_long(handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, count)
        ccurl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, count)
        let loop = CurlLoop(options, connections: count, Multi(handle: handle))
        guard loop.startThread() else {
            curl_multi_cleanup(handle)
            throw .invalidRequest("no thread can be started: \(String(cString: strerror(errno)))")
        }
        return loop
    }

    /// Hands a transfer over; after `close` it fails at once.
    func start(_ transfer: CurlTransfer) {
        self.counters.withLock { counters in
            counters.requests += 1
            counters.inFlight += 1
            counters.inFlightMaximum = max(counters.inFlightMaximum, counters.inFlight)
        }
        if !self.post(.start(transfer)) { self.complete(transfer, .failure(.cancelled)) }
    }

    /// Ends a transfer if it is on its way.
    func cancel(_ id: UInt64) { _ = self.post(.cancel(id)) }

    /// Goes on with a transfer whose body was not ready, if it is still on its way.
    func resume(_ id: UInt64) { _ = self.post(.resume(id)) }

    /// Ends the thread.
    func close() {
        self.inbox.withLock { inbox in
            if inbox.isClosed { return }
            inbox.isClosed = true
            curl_multi_wakeup(self.multi.handle)
        }
    }

    /// Takes what waits; on the loop's thread.
    func takeCommands() -> (commands: [Command], isClosed: Bool) {
        self.inbox.withLock { inbox in
            defer { inbox.commands.removeAll(keepingCapacity: true) }
            return (inbox.commands, inbox.isClosed)
        }
    }

    /// What was done so far.
    var currentCounters: TransportCounters {
        var counters = self.counters.withLock { $0 }
        counters.bytesReceived = self.traffic.received.load(ordering: .relaxed)
        counters.bytesSent = self.traffic.sent.load(ordering: .relaxed)
        return counters
    }

    /// Tells who waits for a transfer, and counts it.
    func complete(_ transfer: CurlTransfer, _ result: Result<HTTPResponse, TransportError>) {
        self.counters.withLock { counters in
            counters.inFlight -= 1
            switch result {
            case .success: counters.responses += 1
            case .failure(.cancelled): counters.cancellations += 1
            case .failure: counters.failures += 1
            }
            guard let easy = transfer.easy?.handle else { return }
            counters.connections += UInt64(max(0, ccurl_info_long(easy, CURLINFO_NUM_CONNECTS)))
            // curl sends these by itself.
            guard case .bytes = transfer.request.body else { return }
            let count = UInt64(max(0, ccurl_info_offset(easy, CURLINFO_SIZE_UPLOAD_T)))
            self.traffic.sent.add(count, ordering: .relaxed)
        }
        transfer.complete(result)
    }

    private func post(_ command: Command) -> Bool {
        self.inbox.withLock { inbox in
            if inbox.isClosed { return false }
            inbox.commands.append(command)
            // Whoever put the first one in has woken the thread already.
            if inbox.commands.count == 1 { curl_multi_wakeup(self.multi.handle) }
            return true
        }
    }

    /// Starts the thread, which lives until `close` and keeps the loop alive.
    private func startThread() -> Bool {
        // The thread takes no signals: SIGTERM is for the main thread, which sits in libfuse's loop.
        var all = sigset_t()
        var previous = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        let context = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(&thread, nil, runLoop, context.toOpaque())
        guard code == 0 else {
            context.release()
            errno = code
            return false
        }
        pthread_detach(thread)
        return true
    }
}

/// What the thread runs: a function of the file, so that it belongs to no actor.
private func runLoop(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    CurlLoopThread(Unmanaged<CurlLoop>.fromOpaque(context).takeRetainedValue()).run()
    return nil
}

/// What the thread has to itself: the multi handle, every easy handle and every transfer attached.
private final class CurlLoopThread {
    private let loop: CurlLoop
    private let multi: OpaquePointer
    private var active: [UInt64: CurlTransfer] = [:]
    private var idle: [CurlEasy] = []
    private var nextLook = ContinuousClock.now
    private let spares: SpareConnections

    init(_ loop: CurlLoop) {
        self.spares = SpareConnections(
            maximumCount: loop.options.spareConnections,
            maximumConnections: loop.connectionCount
        )
        self.loop = loop
        self.multi = loop.multi.handle
    }

    func run() {
        while true {
            let (commands, isClosed) = self.loop.takeCommands()
            for command in commands {
                switch command {
                case .start(let transfer): self.start(transfer)
                case .cancel(let id): self.finish(id) { _ in .failure(.cancelled) }
                case .resume(let id): self.resume(id)
                }
            }
            if isClosed { break }
            var running: Int32 = 0
            let code = curl_multi_perform(self.multi, &running)
            self.finishThoseDone()
            if code != CURLM_OK {
                // Out of memory or worse; what is on its way cannot be trusted to go on.
                let text = String(cString: curl_multi_strerror(code))
                self.finishAll(.interrupted(text))
            }
            self.finishThoseLate()
            self.spares.fill()
            // A command wakes it, and curl's own timers are looked after by it.
            curl_multi_poll(self.multi, nil, 0, self.active.isEmpty ? 60_000 : Self.tick, nil)
        }
        self.finishAll(.cancelled)
        self.idle.removeAll()
        curl_multi_cleanup(self.multi)
    }

    private func start(_ transfer: CurlTransfer) {
        if transfer.cancellation.isSet.load(ordering: .acquiring) {
            self.loop.complete(transfer, .failure(.cancelled))
            return
        }
        guard let easy = self.idle.popLast() ?? CurlEasy() else {
            self.loop.complete(transfer, .failure(.invalidRequest("out of memory")))
            return
        }
        do {
            try easy.prepare(for: transfer, self.loop.options)
            easy.takeSockets(from: self.spares)
        } catch {
            easy.reset()
            self.idle.append(easy)
            self.loop.complete(transfer, .failure(error))
            return
        }
        transfer.easy = easy
        self.active[transfer.id] = transfer
        let code = curl_multi_add_handle(self.multi, easy.handle)
        if code != CURLM_OK {
            let text = String(cString: curl_multi_strerror(code))
            self.finish(transfer.id) { _ in .failure(.invalidRequest(text)) }
        }
        if transfer.isFirstOfMany {
            self.spares.expectAll()
        } else if transfer.hasSink {
            self.spares.expectSome()
        }
    }

    private func resume(_ id: UInt64) {
        guard let transfer = self.active[id], let easy = transfer.easy else { return }
        transfer.endPause(.now)
        let code = curl_easy_pause(easy.handle, Int32(ccurl_pause_nothing))
        if code != CURLE_OK { self.finish(id) { $0.result(code, text: $0.easy?.failureText ?? "") } }
    }

    private func finishThoseDone() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(self.multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle,
                let context = ccurl_info_private(handle)
            else { continue }
            let code = ccurl_message_result(message)
            // Unretained: `active` holds it.
            let id = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue().id
            self.finish(id) { transfer in transfer.result(code, text: transfer.easy?.failureText ?? "") }
        }
    }

    /// How often transfers are looked at for standing still and being overdue, in milliseconds.
    private static let tick: Int32 = 200

    private func finishThoseLate() {
        let now = ContinuousClock.now
        guard now >= self.nextLook else { return }
        self.nextLook = now + .milliseconds(Self.tick)
        self.spares.closeOld(now)
        // Both are asked: the one also counts what has moved.
        let late = self.active.values.filter { $0.isStalled(now) || $0.isOverdue(now) }.map(\.id)
        for id in late { self.finish(id) { $0.timeOut() } }
    }

    private func finishAll(_ error: TransportError) {
        for id in Array(self.active.keys) { self.finish(id) { _ in .failure(error) } }
    }

    /// Detaches a transfer, tells who waits, and keeps its handle for the next. Unknown ids have finished already.
    private func finish(_ id: UInt64, _ result: (CurlTransfer) -> Result<HTTPResponse, TransportError>) {
        guard let transfer = self.active.removeValue(forKey: id), let easy = transfer.easy else { return }
        curl_multi_remove_handle(self.multi, easy.handle)
        self.loop.complete(transfer, result(transfer))
        transfer.easy = nil
        easy.reset()
        if self.idle.count < self.loop.options.maximumConnections { self.idle.append(easy) }
    }
}
