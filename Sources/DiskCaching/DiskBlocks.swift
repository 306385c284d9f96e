/// How a file's bytes are cut into blocks.
public enum DiskBlocks {
    /// A block's length in bytes; a file's last block is shorter.
    public static let byteCount: UInt64 = 64 << 10

    /// How many neighbouring blocks the catalogue keeps together: 8 MiB of a file.
    static let perExtent: UInt64 = 128

    /// Where blocks begin in a segment. With 4 KiB at least for each, a segment of 8 MiB never has more than
    /// 2,048 of them, however small the files are, and evicting it stays cheap.
    static let alignment = 4096

    /// The number of blocks in a file of `size` bytes.
    static func count(size: UInt64) -> UInt64 { size.dividedRoundingUp(by: Self.byteCount) }

    /// The length in bytes of a block, which is one of the file's.
    static func byteCount(of index: UInt64, size: UInt64) -> Int {
        Int(min(Self.byteCount, size - index * Self.byteCount))
    }

    /// The extents that have some of the blocks.
    static func extents(of blocks: Range<UInt64>) -> Range<UInt64> {
        blocks.lowerBound / Self.perExtent..<blocks.upperBound.dividedRoundingUp(by: Self.perExtent)
    }
}

extension UInt64 {
    func dividedRoundingUp(by divisor: UInt64) -> UInt64 { self / divisor + (self % divisor == 0 ? 0 : 1) }
}

extension Int {
    /// The next place where a block can begin.
    var alignedForBlock: Int {
        (self + DiskBlocks.alignment - 1) / DiskBlocks.alignment * DiskBlocks.alignment
    }
}
