/// Numbers in three digits or so.
enum NumberText {
    /// One place after the point below 10, none above.
    static func short(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        guard tenths < 100, tenths % 10 != 0 else { return "\(Int(number.rounded()))" }
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `87 %`; nothing of nothing.
    static func percent(_ part: UInt64, of whole: UInt64) -> String? {
        whole == 0 ? nil : "\(Int((Double(part) / Double(whole) * 100).rounded())) %"
    }
}
