/// A command line in which TAB was pressed, as a shell hands it over.
struct TypedLine: Equatable, Sendable {
    /// The words before the one that is completed, the command's name the first.
    let words: [String]
    /// What is typed of the word that is completed.
    let current: String
    /// Its start that the shell takes for other words, and so does not want again.
    let taken: String

    /// Reads what the parser of arguments gives.
    ///
    /// - Parameters:
    ///   - words: The words, up to that one or further.
    ///   - index: Which of them it is.
    ///   - prefix: What is before the cursor, if it is the last.
    ///   - isBash: Whether words are cut at `:` and `=`, which are then words themselves: bash's `COMP_WORDBREAKS`.
    init(words: [String], index: Int, prefix: String, isBash: Bool) {
        let index = max(0, min(index, words.count))
        let last = index < words.count - 1 ? words[index] : index < words.count ? prefix : ""
        var whole: [String] = []
        var previous = ""
        for piece in words[..<index] + [last] {
            let isGlued = isBash && !whole.isEmpty && (Self.isBreak(piece) || Self.isBreak(previous))
            if isGlued { whole[whole.count - 1] += piece } else { whole.append(piece) }
            previous = piece
        }
        self.current = whole.removeLast()
        self.words = whole
        let before = self.current.unicodeScalars.dropLast(last.unicodeScalars.count)
        self.taken = isBash && Self.isBreak(last) ? self.current : String(before)
    }

    private static func isBreak(_ piece: String) -> Bool {
        !piece.isEmpty && piece.allSatisfy { $0 == ":" || $0 == "=" }
    }

    /// The values of options, by their names: of those that take one, `--name value` and `--name=value`.
    func arguments(of names: Set<String>) -> [String] {
        var arguments: [String] = []
        for (index, word) in self.words.enumerated() {
            let name = word.prefix { $0 != "=" }
            guard names.contains(String(name)) else { continue }
            if name.count < word.count {
                arguments.append(word)
            } else if index + 1 < self.words.count {
                arguments += [word, self.words[index + 1]]
            }
        }
        return arguments
    }
}
