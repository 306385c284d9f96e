/// Numbers in three digits or so.
enum NumberText {
    /// One place after the point below 10, none above.
    static func short(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        guard tenths < 100, tenths % 10 != 0 else { return "\(Int(number.rounded()))" }
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `0 B`, `1.5 KiB`, `12 MiB`.
    static func bytes(_ count: Double) -> String {
        var (value, unit) = (max(0, count), 0)
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        while value >= 1000, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
        return "\(self.short(value)) \(units[unit])"
    }

    /// `87 %`; nothing of nothing.
    static func percent(_ part: UInt64, of whole: UInt64) -> String? {
        whole == 0 ? nil : "\(Int((Double(part) / Double(whole) * 100).rounded())) %"
    }
}
