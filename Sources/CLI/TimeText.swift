import Glibc

/// Moments and durations, for a person.
enum TimeText {
    /// `2026-01-01T00:00:00Z`.
    static func utc(_ secondsSince1970: Int64) -> String {
        var time = time_t(secondsSince1970)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }

    /// `12 ms`, `0.4 ms` or `1.5 s`.
    static func duration(_ seconds: Double) -> String {
        seconds < 1 ? "\(NumberText.short(seconds * 1000)) ms" : "\(NumberText.short(seconds)) s"
    }
}
