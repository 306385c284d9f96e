/// Numbers of bytes for persons.
enum ByteCountText {
    /// Three digits and a unit of 1024: `0`, `999`, `1.0K`, `12M`.
    static func short(_ count: UInt64) -> String {
        guard count >= 1000 else { return "\(count)" }
        var value = Double(count) / 1024
        var units = "KMGTPE"[...]
        while value >= 999.5, units.count > 1 {
            value /= 1024
            units.removeFirst()
        }
        let unit = units.first.map(String.init) ?? ""
        guard value < 9.95 else { return "\(Int(value.rounded()))\(unit)" }
        let tenths = max(10, Int((value * 10).rounded()))
        return "\(tenths / 10).\(tenths % 10)\(unit)"
    }
}
