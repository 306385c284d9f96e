import Glibc

/// One direction of a connection: a thread reads whatever comes and gives it a due time, another writes it
/// when that has come.
///
/// Reading never waits for what is on its way, except that at most `capacity` bytes are: 64 MiB carry
/// 640 MB/s over 100 ms one way.
// Unchecked: `queue`, `head`, `queued` and `isBroken` are touched with `lock` held only; the rest never
// changes.
final class DelayLine: @unchecked Sendable {
    private static let capacity = 64 << 20
    private static let chunkSize = 256 << 10
    /// What a chunk counts for at least, so that a great many small ones are bounded too.
    private static let leastCharge = 4096

    private struct Chunk {
        let due: Int64
        /// Allocated by the reader, freed by the writer.
        let memory: UnsafeMutableRawPointer
        /// 0: the end of the stream.
        let count: Int

        var charge: Int { max(self.count, DelayLine.leastCharge) }
    }

    private let source: Int32
    private let destination: Int32
    private let delay: Int64
    private let opensAt: Int64
    private let link: Link
    /// Keeps both descriptors open.
    private let sockets: Sockets

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [Chunk] = []
    private var head = 0
    private var queued = 0
    private var isBroken = false

    /// `delay` is in nanoseconds, from the arrival of a byte to its departure; what arrives before `opensAt`
    /// counts as having come then.
    init(
        from source: Int32,
        to destination: Int32,
        delay: Int64,
        opensAt: Int64,
        link: Link,
        of sockets: Sockets
    ) {
        self.source = source
        self.destination = destination
        self.delay = delay
        self.opensAt = opensAt
        self.link = link
        self.sockets = sockets
        pthread_mutex_init(self.lock, nil)
        pthread_cond_init(self.changed, nil)
    }

    deinit {
        for chunk in self.queue[self.head...] { chunk.memory.deallocate() }
        pthread_cond_destroy(self.changed)
        pthread_mutex_destroy(self.lock)
        self.changed.deallocate()
        self.lock.deallocate()
    }

    func start() {
        startThread { self.readAll() }
        startThread { self.writeAll() }
    }

    private func readAll() {
        var isOpen = true
        while isOpen, self.waitForRoom() {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.chunkSize, alignment: 16)
            var count = 0
            repeat { count = read(self.source, memory, Self.chunkSize) } while count < 0 && errno == EINTR
            // A connection that was reset has ended as well; the other line finds out by itself.
            let through = self.link.pass(max(count, 0), at: max(now(), self.opensAt))
            let chunk = Chunk(due: through + self.delay, memory: memory, count: max(count, 0))
            isOpen = chunk.count > 0
            self.append(chunk)
        }
    }

    private func writeAll() {
        while true {
            let chunk = self.next()
            defer { chunk.memory.deallocate() }
            sleep(until: chunk.due)
            if chunk.count == 0 {
                shutdown(self.destination, Int32(SHUT_WR))
                return
            }
            guard self.write(chunk) else {
                self.stopReading()
                return
            }
        }
    }

    private func write(_ chunk: Chunk) -> Bool {
        var done = 0
        while done < chunk.count {
            let count = Glibc.write(self.destination, chunk.memory + done, chunk.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    // The queue.

    private func waitForRoom() -> Bool {
        pthread_mutex_lock(self.lock)
        defer { pthread_mutex_unlock(self.lock) }
        while self.queued >= Self.capacity, !self.isBroken { pthread_cond_wait(self.changed, self.lock) }
        return !self.isBroken
    }

    private func append(_ chunk: Chunk) {
        pthread_mutex_lock(self.lock)
        defer { pthread_mutex_unlock(self.lock) }
        self.queue.append(chunk)
        self.queued += chunk.charge
        // Only one of the two threads waits at any time: one for room, the other for a chunk.
        pthread_cond_signal(self.changed)
    }

    private func next() -> Chunk {
        pthread_mutex_lock(self.lock)
        defer { pthread_mutex_unlock(self.lock) }
        while self.head == self.queue.count { pthread_cond_wait(self.changed, self.lock) }
        let chunk = self.queue[self.head]
        self.head += 1
        if self.head == self.queue.count || self.head >= 1024 {
            self.queue.removeFirst(self.head)
            self.head = 0
        }
        self.queued -= chunk.charge
        pthread_cond_signal(self.changed)
        return chunk
    }

    private func stopReading() {
        pthread_mutex_lock(self.lock)
        self.isBroken = true
        pthread_cond_signal(self.changed)
        pthread_mutex_unlock(self.lock)
        shutdown(self.source, Int32(SHUT_RD))
    }
}

private func sleep(until due: Int64) {
    var time = timespec(tv_sec: Int(due / 1_000_000_000), tv_nsec: Int(due % 1_000_000_000))
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startThread(_ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let body = Unmanaged.passRetained(ThreadBody(run))
    let status = pthread_create(
        &thread,
        nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        },
        body.toOpaque()
    )
    guard status == 0 else { preconditionFailure("no thread can be made: \(status)") }
    pthread_detach(thread)
}
