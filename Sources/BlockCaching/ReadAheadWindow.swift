/// Decides what to fetch ahead of one handle's reads.
///
/// Two reads in a row make a stream; each further one doubles what is fetched ahead, and a read elsewhere starts over.
public struct ReadAheadWindow: Sendable {
    /// Where the last read ended, in bytes from the file's start.
    private var expected: UInt64?
    /// How far ahead has been asked for, in bytes from the file's start, end exclusive.
    private var reached: UInt64 = 0
    /// How much to keep ahead of the reader, in bytes; 0 while no stream is seen.
    private var window: UInt64 = 0

    private static let initialWindow: UInt64 = 256 << 10
    /// 8 MiB in flight carry 160 MB/s at a round trip of 50 ms.
    private static let maximumWindow: UInt64 = 8 << 20

    /// Makes a window that knows of no stream.
    public init() {}

    /// Takes the next read into account.
    ///
    /// - Parameters:
    ///   - range: The read, offsets in bytes, end exclusive.
    ///   - size: The file's size in bytes.
    /// - Returns: What to fetch ahead now, end exclusive; nothing if enough is under way.
    public mutating func advance(_ range: Range<UInt64>, size: UInt64) -> Range<UInt64>? {
        defer { self.expected = range.upperBound }
        // The kernel has two reads of a stream under way, which may come in either order.
        let isNext = self.expected.map {
            range.lowerBound <= $0 + (1 << 20) && range.upperBound + (1 << 20) >= $0
        }
        guard isNext ?? (range.lowerBound == 0), self.expected != nil else {
            self.window = 0
            self.reached = range.upperBound
            return nil
        }
        self.window = min(max(Self.initialWindow, self.window * 2), Self.maximumWindow)
        let start = max(self.reached, range.upperBound)
        let end = min(range.upperBound + self.window, size)
        // Small requests cost a round trip as large ones do: wait until half a window is worth asking for.
        guard start < end, end - start >= self.window / 2 || end == size else { return nil }
        self.reached = end
        return start..<end
    }
}
