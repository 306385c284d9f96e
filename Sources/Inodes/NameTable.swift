import Glibc
import Primitives
import RemoteAPI
import WireFormat

/// Names in byte order, each with its number and its kind: 12 bytes a name beside the name's own.
///
/// One allocation that is not changed once the names have their numbers, so that open directories share it.
struct NameTable: Sendable {
    /// For each name its number and kind, then for each the end of its bytes (32 bits), then the bytes.
    private var words: [UInt64] = []
    let count: Int
    /// The index of the first file; the count if there is none.
    let firstFileIndex: Int

    /// Holds no name.
    init() {
        self.count = 0
        self.firstFileIndex = 0
    }

    fileprivate init(_ builder: borrowing NameTableBuilder) {
        let count = builder.slots.count
        self.count = count
        self.firstFileIndex = builder.slots.firstIndex { $0 & Self.directoryBit == 0 } ?? count
        let bytesOffset = Self.bytesOffset(count)
        let wordCount = (bytesOffset + builder.bytes.count + 7) / 8
        self.words = [UInt64](unsafeUninitializedCapacity: wordCount) { buffer, initializedCount in
            buffer.initialize(repeating: 0)
            let all = UnsafeMutableRawBufferPointer(buffer)
            builder.slots.withUnsafeBytes { all.copyMemory(from: $0) }
            builder.ends.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: all[(count * 8)...]).copyMemory(from: $0)
            }
            builder.bytes.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: all[bytesOffset...]).copyMemory(from: $0)
            }
            initializedCount = wordCount
        }
    }

    /// The names of a listing, which have no numbers yet.
    init(_ listing: RemoteListing) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(listing.entries.count * 16)
        var keys: [SortKey] = []
        keys.reserveCapacity(listing.entries.count)
        for (name, kind) in listing.entries {
            name.withBytes { raw in
                keys.append(SortKey(raw, start: bytes.count, isDirectory: kind == .directory))
                bytes.append(contentsOf: raw)
            }
        }
        self = bytes.withUnsafeBytes { all in
            keys.sort { left, right in
                if left.prefix != right.prefix { return left.prefix < right.prefix }
                return compare(left.bytes(all), right.bytes(all)) < 0
            }
            var builder = NameTableBuilder(count: keys.count, byteCount: all.count)
            for key in keys {
                builder.append(key.bytes(all), InodeNumber(rawValue: 0), key.isDirectory ? .directory : .file)
            }
            return NameTable(builder)
        }
    }

    /// What it occupies, in bytes.
    var byteCount: Int { self.words.count * 8 }

    /// The name at an index.
    func name(at index: Int) -> FileName {
        self.words.withUnsafeBytes { FileName(ofName: self.bytes(at: index, $0)) }
    }

    /// The number of the name at an index.
    func inode(at index: Int) -> InodeNumber { InodeNumber(rawValue: self.words[index] >> 1) }

    /// What the name at an index stands for.
    func kind(at index: Int) -> EntryKind { self.words[index] & Self.directoryBit == 0 ? .file : .directory }

    /// Gives the name at an index its number.
    mutating func setInode(_ inode: InodeNumber, at index: Int) {
        self.words[index] = Self.slot(inode, self.kind(at: index))
    }

    /// Where a name stands, or would stand.
    func lowerBound(of name: FileName) -> Int {
        name.withBytes { name in
            self.words.withUnsafeBytes { all in
                var low = 0
                var high = self.count
                while low < high {
                    let middle = (low + high) / 2
                    if compare(self.bytes(at: middle, all), name) < 0 {
                        low = middle + 1
                    } else {
                        high = middle
                    }
                }
                return low
            }
        }
    }

    /// Where a name stands; nothing if it is not here.
    func index(of name: FileName) -> Int? {
        let index = self.lowerBound(of: name)
        guard index < self.count else { return nil }
        let isHere = name.withBytes { name in
            self.words.withUnsafeBytes { compare(self.bytes(at: index, $0), name) == 0 }
        }
        return isHere ? index : nil
    }

    /// Finds the names of another table here.
    ///
    /// - Parameters:
    ///   - other: The other table.
    ///   - body: Told each index of the other one and the index here of the same name, in order.
    func forEachMatch(in other: NameTable, _ body: (_ index: Int, _ otherIndex: Int) -> Void) {
        self.words.withUnsafeBytes { all in
            other.words.withUnsafeBytes { otherAll in
                var (index, otherIndex) = (0, 0)
                while index < self.count, otherIndex < other.count {
                    let order = compare(self.bytes(at: index, all), other.bytes(at: otherIndex, otherAll))
                    if order == 0 { body(index, otherIndex) }
                    if order <= 0 { index += 1 }
                    if order >= 0 { otherIndex += 1 }
                }
            }
        }
    }

    /// Appends the name at an index to another table that is being made.
    func append(_ index: Int, to builder: inout NameTableBuilder) {
        self.words.withUnsafeBytes {
            builder.append(self.bytes(at: index, $0), self.inode(at: index), self.kind(at: index))
        }
    }

    /// The length of the names together, in bytes.
    var nameByteCount: Int { max(0, self.byteCount - Self.bytesOffset(self.count)) }

    private func bytes(at index: Int, _ all: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let ends = self.count * 8 + index * 4
        let start = index == 0 ? 0 : Int(all.load(fromByteOffset: ends - 4, as: UInt32.self))
        let end = Int(all.load(fromByteOffset: ends, as: UInt32.self))
        let offset = Self.bytesOffset(self.count)
        return UnsafeRawBufferPointer(rebasing: all[offset + start..<offset + end])
    }

    private static func bytesOffset(_ count: Int) -> Int { count * 8 + (count + 1) / 2 * 8 }

    private static let directoryBit: UInt64 = 1

    fileprivate static func slot(_ inode: InodeNumber, _ kind: EntryKind) -> UInt64 {
        inode.rawValue << 1 | (kind == .directory ? Self.directoryBit : 0)
    }
}

/// Takes names in byte order and makes a table of them.
struct NameTableBuilder: ~Copyable {
    fileprivate var slots: [UInt64] = []
    fileprivate var ends: [UInt32] = []
    fileprivate var bytes: [UInt8] = []

    init(count: Int, byteCount: Int) {
        self.slots.reserveCapacity(count)
        self.ends.reserveCapacity(count)
        self.bytes.reserveCapacity(byteCount)
    }

    var count: Int { self.slots.count }

    mutating func append(_ name: UnsafeRawBufferPointer, _ inode: InodeNumber, _ kind: EntryKind) {
        self.slots.append(NameTable.slot(inode, kind))
        self.bytes.append(contentsOf: name)
        // An answer has 256 MiB at most.
        self.ends.append(UInt32(self.bytes.count))
    }

    consuming func finish() -> NameTable { NameTable(self) }
}

/// What names are sorted by before their bytes are looked at.
private struct SortKey {
    /// The first eight bytes as a number of the same order.
    let prefix: UInt64
    private let start: UInt32
    private let count: UInt16
    let isDirectory: Bool

    init(_ name: UnsafeRawBufferPointer, start: Int, isDirectory: Bool) {
        var prefix: UInt64 = 0
        for index in 0..<8 { prefix = prefix << 8 | (index < name.count ? UInt64(name[index]) : 0) }
        self.prefix = prefix
        self.start = UInt32(start)
        self.count = UInt16(name.count)
        self.isDirectory = isDirectory
    }

    func bytes(_ all: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: all[Int(self.start)..<Int(self.start) + Int(self.count)])
    }
}

/// Below 0, 0 or above, as one name comes before, with or after another in byte order.
private func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    guard let start = left.baseAddress, let other = right.baseAddress else { return left.count - right.count }
    let order = memcmp(start, other, min(left.count, right.count))
    return order == 0 ? left.count - right.count : Int(order)
}
