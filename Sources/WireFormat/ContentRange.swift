/// The API's `Content-Range` request header, which is not HTTP's: no unit, no total, END exclusive.
///
/// wire-protocol.md, Download 2 and Upload 2.
public enum ContentRange {
    /// Writes the form that a download takes: `START-END`.
    public static func download(_ range: Range<UInt64>) -> String {
        "\(range.lowerBound)-\(range.upperBound)"
    }

    /// Writes the form that a part takes: `[UPLOADID]:START-END`.
    public static func part(_ range: Range<UInt64>, of upload: UploadID) -> String {
        "[\(upload.rawValue)]:\(range.lowerBound)-\(range.upperBound)"
    }

    /// Reads `START-END`; nothing if malformed or if END lies before START.
    public static func parseDownload(_ header: some StringProtocol) -> Range<UInt64>? {
        let ends = header.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let start = Self.parseOffset(ends[0]), let end = Self.parseOffset(ends[1]),
            start <= end
        else { return nil }
        return start..<end
    }

    /// Reads `[UPLOADID]:START-END`; nothing if malformed.
    public static func parsePart(_ header: some StringProtocol) -> (upload: UploadID, range: Range<UInt64>)? {
        guard header.first == "[", let close = header.firstIndex(of: "]") else { return nil }
        let rest = header[header.index(after: close)...]
        guard rest.first == ":", let range = Self.parseDownload(rest.dropFirst()),
            let upload = UploadID(String(header[header.index(after: header.startIndex)..<close]))
        else { return nil }
        return (upload, range)
    }

    /// Digits only: `UInt64.init` alone would take a sign too.
    private static func parseOffset(_ text: some StringProtocol) -> UInt64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return UInt64(text)
    }
}
