import Foundation

/// What vouches for a block that is to be stored.
public struct BlockSeal: Sendable {
    /// Which of the file's blocks it is.
    let index: UInt64
    /// When it came from the service, in seconds since 1970.
    let fetched: UInt32
    /// See ``VersionSeal``.
    let checksum: UInt64
}

/// Where a block is on the disk.
struct StoredBlock: Equatable, Sendable {
    /// See ``VersionSeal``.
    var checksum: UInt64
    /// Which of the file's blocks it is; files have at most 2^28.
    let index: UInt32
    /// The segment's number.
    let segment: UInt32
    /// Its first byte in the segment.
    let offset: UInt32
    /// When it came from the service, in seconds since 1970.
    let fetched: UInt32
}

extension StoredBlock {
    /// A block that was written.
    init(_ seal: BlockSeal, segment: UInt32, offset: UInt32) {
        self.init(
            checksum: seal.checksum,
            index: UInt32(seal.index),
            segment: segment,
            offset: offset,
            fetched: seal.fetched
        )
    }
}

/// Blocks of a part of a file that lie in one segment: a row of the catalogue.
struct Piece: Sendable {
    /// The file's path as text.
    var key: String
    /// The file's size in bytes.
    let size: UInt64
    /// All of one segment and of one extent of the file; never empty, their order is that in the segment.
    var blocks: [StoredBlock]

    /// Which part of the file they are of.
    var extent: UInt64 { UInt64(self.blocks[0].index) / DiskBlocks.perExtent }

    /// The same blocks under another path.
    func renamed(to key: String) -> Piece {
        let old = VersionSeal(key: self.key, size: self.size)
        let new = VersionSeal(key: key, size: self.size)
        var piece = self
        piece.key = key
        for position in piece.blocks.indices {
            let block = piece.blocks[position]
            piece.blocks[position].checksum ^=
                old.mask(index: block.index, fetched: block.fetched)
                ^ new.mask(index: block.index, fetched: block.fetched)
        }
        return piece
    }
}

/// The blocks of a piece as bytes: 20 a block, little-endian.
enum BlockCoding {
    static let byteCountPerBlock = 20

    static func encode(_ blocks: [StoredBlock]) -> Data {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(blocks.count * Self.byteCountPerBlock)
        for block in blocks {
            withUnsafeBytes(of: block.checksum.littleEndian) { bytes.append(contentsOf: $0) }
            for word in [block.index, block.offset, block.fetched] {
                withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
            }
        }
        return Data(bytes)
    }

    /// Bytes that are no blocks of a file of `size` bytes are left out: the disk may have changed them.
    static func decode(
        _ data: Data,
        segment: UInt32,
        size: UInt64,
        segmentByteCount: Int
    ) -> [StoredBlock] {
        data.withUnsafeBytes { bytes in
            (0..<bytes.count / Self.byteCountPerBlock).compactMap { position in
                let start = position * Self.byteCountPerBlock
                func word(_ offset: Int) -> UInt32 {
                    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + offset, as: UInt32.self))
                }
                let block = StoredBlock(
                    checksum: UInt64(
                        littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
                    ),
                    index: word(8),
                    segment: segment,
                    offset: word(12),
                    fetched: word(16)
                )
                guard UInt64(block.index) < DiskBlocks.count(size: size) else { return nil }
                let count = DiskBlocks.byteCount(of: UInt64(block.index), size: size)
                return Int(block.offset) + count <= segmentByteCount ? block : nil
            }
        }
    }
}
