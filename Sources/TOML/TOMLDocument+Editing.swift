extension TOMLDocument {
    /// The text, each line with an end.
    public var text: String { self.lines.map { $0 + "\n" }.joined() }

    /// Sets a text: in its line if the key is there, else in a new line after the table's last; a table that is not there
    /// is added at the end. Comments stay.
    ///
    /// - Parameters:
    ///   - key: A key of letters, digits, `-` and `_`.
    ///   - value: The text, or whether a switch is on.
    ///   - name: The parts of the table's name.
    /// - Throws: Never for such keys and names.
    public mutating func set(_ key: String, to value: Value, in name: [String]) throws(TOMLError) {
        var lines = self.lines
        if let table = self[name] {
            if let entry = table[key] {
                let line = Array(lines[entry.line - 1].utf8)
                lines[entry.line - 1] =
                    String(decoding: line[..<entry.columns.lowerBound], as: UTF8.self) + Self.written(value)
                    + String(decoding: line[entry.columns.upperBound...], as: UTF8.self)
            } else {
                let last = table.entries.last?.line ?? table.line
                lines.insert("\(key) = \(Self.written(value))", at: last)
            }
        } else {
            if let last = lines.last, !last.isEmpty { lines.append("") }
            lines.append("[\(name.joined(separator: "."))]")
            lines.append("\(key) = \(Self.written(value))")
        }
        try self.take(lines)
    }

    /// Takes a key's line away.
    ///
    /// - Throws: Never.
    public mutating func remove(_ key: String, in name: [String]) throws(TOMLError) {
        guard let entry = self[name]?[key] else { return }
        var lines = self.lines
        lines.remove(at: entry.line - 1)
        try self.take(lines)
    }

    private mutating func take(_ lines: [String]) throws(TOMLError) {
        self = try TOMLDocument(lines.map { $0 + "\n" }.joined())
    }

    private static func written(_ value: Value) -> String {
        switch value {
        case .boolean(let isOn): return isOn ? "true" : "false"
        case .integer(let number): return "\(number)"
        case .float(let number): return "\(number)"
        case .string(let text):
            var written = "\""
            for scalar in text.unicodeScalars {
                switch scalar {
                case "\"", "\\": written += "\\" + String(scalar)
                case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                    let digits = String(scalar.value, radix: 16)
                    written += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                default: written.unicodeScalars.append(scalar)
                }
            }
            return written + "\""
        }
    }
}
