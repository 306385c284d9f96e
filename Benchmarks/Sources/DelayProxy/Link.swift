import Glibc

/// What all connections share: one byte after the other, at a bounded rate.
// Unchecked: `freeAt` is touched with `lock` held only; the rest never changes.
final class Link: @unchecked Sendable {
    private let rate: Int64?
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var freeAt: Int64 = 0

    /// `rate` is in bytes per second; nothing for no bound.
    init(rate: Int64?) {
        self.rate = rate
        pthread_mutex_init(self.lock, nil)
    }

    deinit {
        pthread_mutex_destroy(self.lock)
        self.lock.deallocate()
    }

    /// When so many bytes that came at a time, in nanoseconds, are through.
    func pass(_ count: Int, at time: Int64) -> Int64 {
        guard let rate = self.rate else { return time }
        pthread_mutex_lock(self.lock)
        defer { pthread_mutex_unlock(self.lock) }
        self.freeAt = max(time, self.freeAt) + Int64(count) * 1_000_000_000 / rate
        return self.freeAt
    }
}
