/// Into which parts a file is cut for its upload.
public struct PartPlan: Sendable, Hashable, RandomAccessCollection {
    /// The file's size in bytes.
    public let size: UInt64
    /// Every part's size in bytes, but for the last, which may be smaller.
    public let partSize: UInt64

    /// The smallest part: below it, round trips weigh more than bytes.
    public static let minimumPartSize: UInt64 = 8 << 20
    /// The largest part (wire-protocol.md, Download: the official client goes so far): what is sent again at worst.
    public static let maximumPartSize: UInt64 = 64 << 20

    /// How large parts should be: of about a second's bytes each, so that one that fails costs little; two for each lane,
    /// so that they end together; and no more than a thousand.
    ///
    /// - Parameters:
    ///   - size: The file's size in bytes.
    ///   - lanes: How many are sent at once.
    ///   - bytesPerSecond: What all of them carry together; nothing if that is not known.
    /// - Returns: Whole MiB, from 8 to 64.
    static func partSize(for size: UInt64, lanes: Int, bytesPerSecond: Double?) -> UInt64 {
        let lanes = UInt64(Swift.max(1, lanes))
        let second = UInt64(Swift.min((bytesPerSecond ?? 0) / Double(lanes), Double(Self.maximumPartSize)))
        let wanted = Swift.max(size / 1000, Swift.min(second, size / (2 * lanes)))
        let mebibytes = (wanted >> 20) + (wanted.isMultiple(of: 1 << 20) ? 0 : 1)
        return Swift.min(Swift.max(mebibytes << 20, Self.minimumPartSize), Self.maximumPartSize)
    }

    /// Plans parts for a download: of 8 MiB, and of more where that would be more than a thousand.
    public init(downloadOf size: UInt64) {
        self.init(size: size, partSize: Self.partSize(for: size, lanes: 1, bytesPerSecond: 0))
    }

    /// Plans parts of a given size, which must not be 0.
    public init(size: UInt64, partSize: UInt64) {
        precondition(partSize > 0, "a part has at least one byte")
        self.size = size
        self.partSize = partSize
    }

    /// The first part.
    public var startIndex: Int { 0 }

    /// The number of parts: none for an empty file.
    public var endIndex: Int {
        Int(self.size / self.partSize) + (self.size.isMultiple(of: self.partSize) ? 0 : 1)
    }

    /// The bytes of a part, end exclusive.
    public subscript(position: Int) -> Range<UInt64> {
        precondition(self.indices.contains(position), "no such part")
        let start = UInt64(position) * self.partSize
        return start..<start + Swift.min(self.partSize, self.size - start)
    }
}
