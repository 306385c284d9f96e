import Primitives
import Synchronization

/// One handle's way to read a file's blocks: sees how it reads, and has fetched ahead what it will read next.
public final class BlockReader: Sendable {
    private let cache: BlockCache
    /// Names the reader to the cache.
    private let id: UInt64
    private let patterns = Mutex(ReadPatterns())
    private let hasReadAhead = Atomic(false)

    init(_ cache: BlockCache, id: UInt64) {
        self.cache = cache
        self.id = id
    }

    /// Reads a range of a file; see ``BlockCache/read(_:_:completion:)``.
    public func read(
        _ source: BlockSource,
        _ range: Range<UInt64>,
        completion: @escaping @Sendable (Result<[ByteSlice], BlockError>) -> Void
    ) -> BlockCache.Outcome {
        let outcome = self.cache.read(source, range, completion: completion)
        let hadToWait = if case .pending = outcome { true } else { false }
        self.readAhead(of: range, source, hadToWait: hadToWait)
        return outcome
    }

    /// Takes a read into account whose bytes come in another way; ``read(_:_:completion:)`` may follow for the same.
    public func expect(_ source: BlockSource, _ range: Range<UInt64>) {
        self.readAhead(of: range, source, hadToWait: true)
    }

    private func readAhead(of range: Range<UInt64>, _ source: BlockSource, hadToWait: Bool) {
        let ahead = self.patterns.withLock { patterns in
            patterns.advance(range, hadToWait: hadToWait, size: source.size) {
                self.cache.allowance(for: self.id)
            }
        }
        for range in ahead { self.readAhead(source, range) }
    }

    /// Fetches a range that nobody waits for yet, and that is given up when the reader ends.
    public func readAhead(_ source: BlockSource, _ range: Range<UInt64>) {
        self.cache.readAhead(source, range, owner: self.noteReadAhead())
    }

    /// Something is fetched ahead of it.
    ///
    /// - Returns: What names it to the cache.
    func noteReadAhead() -> UInt64 {
        self.hasReadAhead.store(true, ordering: .relaxed)
        return self.id
    }

    /// The handle is closed: what is on its way for it alone is given up.
    public func close() {
        self.cache.endReader(self.id, hasReadAhead: self.hasReadAhead.load(ordering: .relaxed))
    }
}
