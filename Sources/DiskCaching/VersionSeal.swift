import CXXHash
import Primitives

/// Makes the checksums of one version of a file.
///
/// A checksum is the XXH3 of the block's bytes, combined by exclusive or with one of the path, the size, the block's
/// index and the time when it was fetched. So bytes in another block's place and a changed line of the catalogue
/// are found out as a flipped bit is; and a renamed file's checksums follow without its bytes being read.
struct VersionSeal: Sendable {
    private let seed: UInt64

    /// Takes the path as text, and the file's size in bytes.
    init(key: String, size: UInt64) {
        var key = key
        self.seed = key.withUTF8 { cxxhash_xxh3($0.baseAddress, $0.count, size) }
    }

    /// The checksum of a block's bytes.
    func checksum(of buffer: ByteBuffer, index: UInt32, fetched: UInt32) -> UInt64 {
        let hash = withExtendedLifetime(buffer) { cxxhash_xxh3(buffer.bytes.baseAddress, buffer.count, 0) }
        return hash ^ self.mask(index: index, fetched: fetched)
    }

    /// What a block's place adds to its checksum.
    func mask(index: UInt32, fetched: UInt32) -> UInt64 {
        withUnsafeBytes(of: (index.littleEndian, fetched.littleEndian)) { bytes in
            cxxhash_xxh3(bytes.baseAddress, bytes.count, self.seed)
        }
    }
}
