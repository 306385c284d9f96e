/// Numbers as TOML writes them.
enum TOMLNumber {
    /// The number that a word is; nothing if it is none, or does not fit.
    static func value(_ word: String) -> TOMLDocument.Value? {
        guard !word.isEmpty, word.utf8.allSatisfy({ $0.isWordByte || "+-.".utf8.contains($0) }),
            self.hasGoodUnderscores(word)
        else { return nil }
        let text = word.replacing("_", with: "")
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where text.hasPrefix(prefix) {
            let digits = text.dropFirst(2)
            // Int itself takes a sign.
            guard digits.first?.isHexDigit == true else { return nil }
            return Int(digits, radix: radix).map { .integer($0) }
        }
        let unsigned = text.first == "+" || text.first == "-" ? text.dropFirst() : text[...]
        let whole = unsigned.prefix { ("0"..."9").contains($0) }
        // No zeros in front: other languages take such a number for an octal one.
        guard !whole.isEmpty, whole == "0" || whole.first != "0" else { return nil }
        if whole.count == unsigned.count { return Int(text).map { .integer($0) } }
        return self.isFloat(unsigned.dropFirst(whole.count)) ? self.finite(text) : nil
    }

    private static func finite(_ text: String) -> TOMLDocument.Value? {
        Double(text).flatMap { $0.isFinite ? .float($0) : nil }
    }

    /// Whether it is `.DIGITS`, `eDIGITS` or both, the exponent maybe with a sign.
    private static func isFloat(_ text: Substring) -> Bool {
        var rest = text
        if rest.first == "." {
            let digits = rest.dropFirst().prefix { ("0"..."9").contains($0) }
            guard !digits.isEmpty else { return false }
            rest = rest[digits.endIndex...]
        }
        guard let letter = rest.popFirst() else { return true }
        guard letter == "e" || letter == "E" else { return false }
        if rest.first == "+" || rest.first == "-" { rest.removeFirst() }
        return !rest.isEmpty && rest.allSatisfy { ("0"..."9").contains($0) }
    }

    /// Whether each `_` stands between two digits.
    private static func hasGoodUnderscores(_ word: String) -> Bool {
        let characters = Array(word)
        return characters.indices.allSatisfy { index in
            guard characters[index] == "_" else { return true }
            guard index > 0, index + 1 < characters.count else { return false }
            return characters[index - 1].isHexDigit && characters[index + 1].isHexDigit
        }
    }
}
