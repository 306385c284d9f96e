import Primitives

/// Names one block: a version of a file, and which of its blocks.
///
/// Packed into one integer, since looking up a synthesized two-field key costs five times as much.
struct BlockKey: Hashable, Sendable {
    private let packed: UInt64

    /// 2^28 blocks of 64 KiB are 16 TiB, the largest file.
    static let indexBitCount: UInt64 = 28

    init(_ content: ContentID, _ index: UInt64) {
        precondition(index < 1 << Self.indexBitCount, "callers bound file sizes")
        self.packed = content.rawValue << Self.indexBitCount | index
    }

    /// Which block.
    var index: UInt64 { self.packed & (1 << Self.indexBitCount - 1) }

    /// The version.
    var content: ContentID { ContentID(rawValue: self.packed >> Self.indexBitCount) }
}

/// How files are cut into blocks.
public enum BlockGeometry {
    /// A block's length in bytes: the least that a random read fetches.
    public static let blockByteCount: UInt64 = 64 << 10

    /// The largest file in bytes; larger ones are refused with EFBIG.
    public static let maximumFileByteCount: UInt64 = Self.blockByteCount << BlockKey.indexBitCount

    /// The blocks that a range of bytes touches.
    static func blocks(_ range: Range<UInt64>) -> Range<UInt64> {
        guard !range.isEmpty else { return 0..<0 }
        return range.lowerBound / Self.blockByteCount..<(range.upperBound - 1) / Self.blockByteCount + 1
    }

    /// Neighbouring blocks as runs, end exclusive.
    ///
    /// - Parameters:
    ///   - blocks: Their indices, in order.
    ///   - maximumCount: How many blocks a run has at most.
    /// - Returns: The runs, in order.
    static func runs(of blocks: [UInt64], maximumCount: Int) -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        for index in blocks {
            if let last = runs.last, last.upperBound == index, last.count < maximumCount {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        return runs
    }

    /// The bytes of a block in a file of `size` bytes; the last block is short.
    static func bytes(ofBlock index: UInt64, size: UInt64) -> Range<UInt64> {
        index * Self.blockByteCount..<min((index + 1) * Self.blockByteCount, size)
    }
}
