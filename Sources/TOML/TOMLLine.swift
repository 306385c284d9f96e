/// A line that is being read, from its start.
struct TOMLLine {
    /// What a line says.
    enum Statement {
        case table([String])
        case entry(TOMLDocument.Entry)
    }

    private let bytes: [UInt8]
    private let number: Int
    private var position = 0

    /// Takes a line without its end.
    init(_ bytes: [UInt8], number: Int) {
        self.bytes = bytes
        self.number = number
    }

    /// Reads it all.
    ///
    /// - Returns: What it says; nothing for an empty line or a comment.
    mutating func statement() throws(TOMLError) -> Statement? {
        guard self.bytes.allSatisfy({ ($0 >= 0x20 && $0 != 0x7f) || $0 == 0x09 }) else {
            throw self.error("a control character")
        }
        self.skipBlanks()
        guard let first = self.next, first != UInt8(ascii: "#") else { return nil }
        let statement: Statement =
            first == UInt8(ascii: "[") ? .table(try self.tableName()) : .entry(try self.entry())
        self.skipBlanks()
        guard self.next == nil || self.next == UInt8(ascii: "#") else {
            throw self.error("something follows the end; a comment begins with #")
        }
        return statement
    }

    private mutating func tableName() throws(TOMLError) -> [String] {
        self.position += 1
        guard self.next != UInt8(ascii: "[") else { throw self.error("lists of tables are not read here") }
        var name: [String] = []
        while true {
            self.skipBlanks()
            name.append(try self.key())
            self.skipBlanks()
            if self.take("]") { return name }
            guard self.take(".") else { throw self.error("a table's name ends with ]") }
        }
    }

    private mutating func entry() throws(TOMLError) -> TOMLDocument.Entry {
        let key = try self.key()
        self.skipBlanks()
        guard self.next != UInt8(ascii: ".") else { throw self.error("dotted keys are not read here") }
        guard self.take("=") else { throw self.error("a key is followed by = and a value") }
        self.skipBlanks()
        let start = self.position
        let value = try self.value()
        return .init(key: key, value: value, line: self.number, columns: start..<self.position)
    }

    private mutating func key() throws(TOMLError) -> String {
        if self.next == UInt8(ascii: "\"") || self.next == UInt8(ascii: "'") { return try self.string() }
        let key = self.takeWhile { $0.isWordByte || $0 == UInt8(ascii: "-") }
        guard !key.isEmpty else {
            throw self.error("a key has letters, digits, - and _; any other stands in quotes")
        }
        return key
    }

    private mutating func value() throws(TOMLError) -> TOMLDocument.Value {
        switch self.next {
        case nil, UInt8(ascii: "#"): throw self.error("there is no value")
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try self.string())
        case UInt8(ascii: "["): throw self.error("lists are not read here")
        case UInt8(ascii: "{"): throw self.error("inline tables are not read here")
        default: break
        }
        let word = self.takeWhile { ![0x20, 0x09, UInt8(ascii: "#")].contains($0) }
        if word == "true" || word == "false" { return .boolean(word == "true") }
        guard let number = TOMLNumber.value(word) else {
            throw self.error("a value is a number, true, false, or a text in quotes")
        }
        return number
    }

    private mutating func string() throws(TOMLError) -> String {
        let quote = self.bytes[self.position]
        guard self.bytes[self.position...].prefix(3) != [quote, quote, quote] else {
            throw self.error("texts of several lines are not read here")
        }
        self.position += 1
        var text: [UInt8] = []
        while let byte = self.next {
            self.position += 1
            if byte == quote { return String(decoding: text, as: UTF8.self) }
            if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                text += try self.escape()
            } else {
                text.append(byte)
            }
        }
        throw self.error("a text ends with the quote that it began with, on the same line")
    }

    private mutating func escape() throws(TOMLError) -> [UInt8] {
        let letter = self.next.map { Character(Unicode.Scalar($0)) }
        self.position += 1
        switch letter {
        case "b": return [0x08]
        case "t": return [0x09]
        case "n": return [0x0a]
        case "f": return [0x0c]
        case "r": return [0x0d]
        case "\"", "\\": return [self.bytes[self.position - 1]]
        case "u", "U":
            let digits = self.bytes[min(self.position, self.bytes.count)...].prefix(letter == "u" ? 4 : 8)
            self.position += digits.count
            let text = String(decoding: digits, as: UTF8.self)
            if digits.count == (letter == "u" ? 4 : 8), text.first?.isHexDigit == true,
                let scalar = UInt32(text, radix: 16).flatMap(Unicode.Scalar.init)
            {
                return Array(String(Character(scalar)).utf8)
            }
        default: break
        }
        throw self.error("no such escape in a text; a \\ itself is written \\\\, or the text in ' '")
    }

    private var next: UInt8? { self.position < self.bytes.count ? self.bytes[self.position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard self.next == UInt8(ascii: character) else { return false }
        self.position += 1
        return true
    }

    private mutating func takeWhile(_ isWanted: (UInt8) -> Bool) -> String {
        let taken = self.bytes[self.position...].prefix(while: isWanted)
        self.position += taken.count
        return String(decoding: taken, as: UTF8.self)
    }

    private mutating func skipBlanks() {
        _ = self.takeWhile { $0 == 0x20 || $0 == 0x09 }
    }

    private func error(_ reason: String) -> TOMLError {
        TOMLError(line: self.number, reason: reason)
    }
}

extension UInt8 {
    /// Whether it is an ASCII letter, a digit or `_`.
    var isWordByte: Bool {
        switch Character(Unicode.Scalar(self)) {
        case "a"..."z", "A"..."Z", "0"..."9", "_": self < 0x80
        default: false
        }
    }
}
