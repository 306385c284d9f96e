import CLinux
import Glibc
import RemoteAPI

/// Text that came from elsewhere (a server, a file, a name), made fit for one line on a terminal.
enum Printable {
    /// Replaces control characters, which could move the cursor or forge a second line, and cuts long text.
    ///
    /// - Parameters:
    ///   - text: Anything.
    ///   - limit: How many columns of a terminal are kept, and at most four times as many scalars, as marks take no
    ///     column; an ellipsis, in one more, stands for the rest.
    /// - Returns: The text, fit to be shown.
    static func text(_ text: String, limit: Int = 200) -> String {
        var result = ""
        var rest = limit
        for (index, scalar) in text.unicodeScalars.enumerated() {
            let shown = self.isPrintable(scalar) ? scalar : "?"
            rest -= self.columns(shown)
            if rest < 0 || index / 4 >= limit { return result + "…" }
            result.unicodeScalars.append(shown)
        }
        return result
    }

    /// A path or a name in a command that somebody is told to run: whole, and in quotes where a shell needs them.
    static func word(_ text: String) -> String { self.text(ShellWord.quoted(text), limit: .max) }

    /// How many columns of a terminal a text takes: East Asian letters and emoji have two, marks on letters none.
    static func columns(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + self.columns($1) }
    }

    /// The text with blanks after it, up to so many columns; a longer one stays as it is.
    static func padded(_ text: String, to columns: Int) -> String {
        text + String(repeating: " ", count: max(0, columns - self.columns(text)))
    }

    private static func columns(_ scalar: Unicode.Scalar) -> Int {
        if scalar.isASCII || !self.knowsColumns { return 1 }
        let count = Int(csystem_columns(scalar.value))
        return count < 0 ? 1 : count
    }

    /// Whether wcwidth(3) knows more than ASCII, which it does in this locale, whatever the person's language.
    private static let knowsColumns = setlocale(LC_CTYPE, "C.UTF-8") != nil

    /// Puts a backslash before what is special. Scalar by scalar: programs look at bytes, where a quote is one also if a
    /// mark combines with it to another character.
    static func escaped(_ text: some StringProtocol, where isSpecial: (Unicode.Scalar) -> Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if isSpecial(scalar) { result.unicodeScalars.append("\\") }
            result.unicodeScalars.append(scalar)
        }
        return result
    }

    /// JSON in which only characters stand that can be shown: the others, which its strings alone can have, as \uXXXX.
    static func json(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if self.isPrintable(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                for unit in scalar.utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        // Format characters among them: they turn the direction of writing, so that a name shows as another.
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            false
        default: true
        }
    }
}
