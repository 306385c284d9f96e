/// One component of a path: what a directory calls one of its children.
///
/// Between 1 and 255 bytes of UTF-8 without `/` and NUL, and neither `.` nor `..`. Compared byte by byte:
/// Swift's own `String` comparison would take two Unicode spellings of a name for one name.
public struct FileName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as text; its UTF-8 is the name.
    public let string: String

    /// The longest name, in bytes (NAME_MAX of Linux).
    public static let maximumByteCount = 255

    /// Takes a name as it is, or nothing if no directory can hold it.
    public init?(_ string: String) {
        var count = 0
        for byte in string.utf8 {
            if byte == 0 || byte == UInt8(ascii: "/") { return nil }
            count += 1
        }
        guard (1...Self.maximumByteCount).contains(count), string != ".", string != ".." else { return nil }
        var contiguous = string
        contiguous.makeContiguousUTF8()
        self.string = contiguous
    }

    /// Takes the bytes of a name, or nothing if they are not UTF-8 or no directory can hold them.
    public init?(bytes: some Sequence<UInt8>) {
        guard let string = String(validating: bytes, as: UTF8.self) else { return nil }
        self.init(string)
    }

    /// Takes the bytes that ``withBytes(_:)`` once gave, so that they need no check.
    public init(ofName bytes: UnsafeRawBufferPointer) {
        self.string = String(decoding: bytes, as: UTF8.self)
    }

    /// Gives the name's bytes, for the time of the call.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        var string = self.string
        return string.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }

    /// The name itself.
    public var description: String { self.string }

    /// Equal if the bytes are equal.
    public static func == (left: FileName, right: FileName) -> Bool {
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    /// Ordered by bytes, as `LC_ALL=C sort` does.
    public static func < (left: FileName, right: FileName) -> Bool {
        left.string.utf8.lexicographicallyPrecedes(right.string.utf8)
    }

    /// Hashes the bytes, as equality compares them.
    public func hash(into hasher: inout Hasher) {
        self.withBytes { hasher.combine(bytes: $0) }
    }
}
