/// What a file in a small part of TOML 1.0 says, and in which line.
///
/// Tables, and keys with a string, an integer, a float or a boolean on the same line. Dotted keys, lists, inline tables,
/// dates, strings of several lines and lists of tables are errors that say so.
public struct TOMLDocument: Sendable, Equatable {
    /// A value.
    public enum Value: Sendable, Equatable {
        /// A text.
        case string(String)
        /// A whole number.
        case integer(Int)
        /// A finite number with a fraction or an exponent.
        case float(Double)
        /// `true` or `false`.
        case boolean(Bool)
    }

    /// A key and its value.
    public struct Entry: Sendable, Equatable {
        /// The key, without quotes.
        public let key: String
        /// The value.
        public let value: Value
        /// The line that both stand in; the first is 1.
        public let line: Int
        /// Where the value stands in the line: offsets of bytes, end exclusive.
        let columns: Range<Int>
    }

    /// A table.
    public struct Table: Sendable, Equatable {
        /// The parts of its name; none for what stands before the first header.
        public let name: [String]
        /// The line of its header; 0 for what stands before the first one.
        public let line: Int
        /// What it holds, in the order of the lines.
        public internal(set) var entries: [Entry] = []

        /// The entry of a key.
        public subscript(key: String) -> Entry? { self.entries.first { $0.key == key } }
    }

    /// The tables in the order of their lines; the first is what stands before the first header.
    public internal(set) var tables: [Table]
    /// The text as lines, without their ends.
    var lines: [String]

    /// Reads a text.
    ///
    /// - Parameter text: The file's content, with `\n` or `\r\n` at the ends of lines.
    /// - Throws: The first line that is wrong. Nothing that stands in it is repeated but keys.
    public init(_ text: String) throws(TOMLError) {
        self.lines = []
        self.tables = [Table(name: [], line: 0)]
        // By bytes: Swift takes "\r\n" for one character.
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            self.lines.append(String(decoding: line, as: UTF8.self))
            try self.take(line: self.lines.count, Array(line))
        }
        // What follows the last line end is no line.
        if self.lines.last == "" { self.lines.removeLast() }
    }

    /// The table of that name.
    public subscript(name: [String]) -> Table? { self.tables.first { $0.name == name } }

    private mutating func take(line number: Int, _ bytes: [UInt8]) throws(TOMLError) {
        var line = TOMLLine(bytes, number: number)
        switch try line.statement() {
        case nil: return
        case .table(let name):
            let shown = name.joined(separator: ".")
            if let first = self[name] {
                throw TOMLError(line: number, reason: "[\(shown)] stands in line \(first.line) already")
            }
            self.tables.append(Table(name: name, line: number))
        case .entry(let entry):
            let last = self.tables.count - 1
            if let first = self.tables[last][entry.key] {
                throw TOMLError(line: number, reason: "\(entry.key) stands in line \(first.line) already")
            }
            self.tables[last].entries.append(entry)
        }
    }
}

/// Why a text is not TOML, or more of it than is read here.
public struct TOMLError: Error, Hashable, CustomStringConvertible {
    /// The line; the first is 1.
    public let line: Int
    /// What is wrong: a few words.
    public let reason: String

    /// The line and the reason.
    public var description: String { "line \(self.line): \(self.reason)" }
}
