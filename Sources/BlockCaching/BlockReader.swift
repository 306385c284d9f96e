import Primitives
import Synchronization

/// One handle's way to read a file's blocks: sees how it reads, and has fetched ahead what it will read next.
public final class BlockReader: Sendable {
    private let cache: BlockCache
    /// Names the reader to the cache.
    private let id: UInt64
    private let patterns = Mutex(ReadPatterns())
    /// The version that was last read ahead of this reader.
    private let content = Mutex<ContentID?>(nil)

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
        let ahead = self.patterns.withLock { patterns in
            patterns.advance(range, hadToWait: hadToWait, size: source.size) {
                self.cache.allowance(for: self.id)
            }
        }
        guard !ahead.isEmpty else { return outcome }
        self.content.withLock { $0 = source.content }
        for range in ahead { self.cache.readAhead(source, range, owner: self.id) }
        return outcome
    }

    /// The handle is closed: what is on its way for it alone is given up.
    public func close() {
        self.cache.endReader(self.id, self.content.withLock { $0 })
    }
}
