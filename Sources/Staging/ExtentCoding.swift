/// Extents as bytes: the gaps and lengths in turn, each in groups of 7 bits, the lowest first.
enum ExtentCoding {
    static func encode(_ map: ExtentMap) -> [UInt8] {
        var bytes: [UInt8] = []
        var end: UInt64 = 0
        for extent in map.extents {
            Self.append(extent.lowerBound - end, to: &bytes)
            Self.append(UInt64(extent.count), to: &bytes)
            end = extent.upperBound
        }
        return bytes
    }

    /// Nothing if these are no extents.
    static func decode(_ bytes: some Sequence<UInt8>) -> ExtentMap? {
        var map = ExtentMap()
        var end: UInt64 = 0
        var lower: UInt64?
        var value: UInt64 = 0
        var shift: UInt64 = 0
        for byte in bytes {
            // Files are shorter than 2^63.
            guard shift < 63 else { return nil }
            value |= UInt64(byte & 0x7f) << shift
            shift += 7
            if byte & 0x80 != 0 { continue }
            let (next, overflow) = end.addingReportingOverflow(value)
            guard !overflow, next <= UInt64(Int64.max) else { return nil }
            end = next
            if let start = lower {
                map.insert(start..<end)
                lower = nil
            } else {
                lower = end
            }
            (value, shift) = (0, 0)
        }
        return lower == nil && shift == 0 ? map : nil
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
