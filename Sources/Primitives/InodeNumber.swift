/// The number the kernel knows a file or directory by, for as long as the mount lives; never given twice.
public struct InodeNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number itself.
    public let rawValue: UInt64

    /// The root directory's, FUSE_ROOT_ID.
    public static let root = InodeNumber(rawValue: 1)

    /// Wraps a number.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// The number in decimal.
    public var description: String { String(self.rawValue) }

    /// Ordered by number, which is the order of locking.
    public static func < (left: InodeNumber, right: InodeNumber) -> Bool { left.rawValue < right.rawValue }
}

/// One version of one file's bytes as we know it.
///
/// The API has no versions: each change of ours and each size seen to differ makes a new one. Blocks are cached
/// under it, so that bytes of two versions never mix.
public struct ContentID: Hashable, Sendable {
    /// Counted up from 1 over the life of the process; below 2^36.
    public let rawValue: UInt64

    /// Wraps a number.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}
