import Primitives

/// What is known of files' bytes, by the index of their names: 24 bytes a file, for those around which anything is
/// known.
struct FactsTable: Sendable {
    private var chunks: [[PackedFacts]] = []
    private var allocatedCount = 0
    private var count: Int

    private static let chunkSize = 64

    /// Knows nothing of that many names.
    init(count: Int) {
        self.count = count
    }

    /// What it occupies, in bytes.
    var byteCount: Int {
        self.chunks.count * MemoryLayout<[PackedFacts]>.stride
            + self.allocatedCount * MemoryLayout<PackedFacts>.stride
    }

    /// Drops what is known of names beyond a count.
    mutating func truncate(to count: Int) {
        self.count = count
        let chunkCount = (count + Self.chunkSize - 1) / Self.chunkSize
        while self.chunks.count > chunkCount {
            if let last = self.chunks.popLast() { self.allocatedCount -= last.count }
        }
    }

    subscript(index: Int) -> PackedFacts {
        get {
            guard !self.chunks.isEmpty else { return PackedFacts() }
            let chunk = self.chunks[index / Self.chunkSize]
            return chunk.isEmpty ? PackedFacts() : chunk[index % Self.chunkSize]
        }
        set {
            let (chunk, place) = index.quotientAndRemainder(dividingBy: Self.chunkSize)
            if self.chunks.isEmpty {
                if newValue == PackedFacts() { return }
                let chunkCount = (self.count + Self.chunkSize - 1) / Self.chunkSize
                self.chunks = Array(repeating: [], count: chunkCount)
            }
            if self.chunks[chunk].isEmpty {
                if newValue == PackedFacts() { return }
                let size = min(Self.chunkSize, self.count - chunk * Self.chunkSize)
                self.chunks[chunk] = Array(repeating: PackedFacts(), count: size)
                self.allocatedCount += size
            }
            self.chunks[chunk][place] = newValue
        }
    }
}

/// ``FileFacts`` without the epoch, in 24 bytes.
struct PackedFacts: Sendable, Equatable {
    // Values that no fact has stand for nothing known.
    private var size: UInt64 = .max
    private var nanoseconds: Int64 = .min
    private var content: UInt64 = 0

    /// Knows nothing.
    init() {}

    init(_ facts: FileFacts) {
        self.size = facts.size ?? .max
        self.content = facts.content?.rawValue ?? 0
        guard let asOf = facts.sizeAsOf else { return }
        let (seconds, attoseconds) = (asOf - Self.start).components
        self.nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    func facts(epoch: UInt64) -> FileFacts {
        var facts = FileFacts()
        facts.size = self.size == .max ? nil : self.size
        facts.sizeAsOf = self.nanoseconds == .min ? nil : Self.start + .nanoseconds(self.nanoseconds)
        facts.content = self.content == 0 ? nil : ContentID(rawValue: self.content)
        facts.epoch = epoch
        return facts
    }

    /// Instants are kept as the distance from some moment of this process.
    private static let start = ContinuousClock.now
}
