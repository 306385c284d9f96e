/// Text that came from elsewhere (a server, a file, a name), made fit for one line on a terminal.
enum Printable {
    /// Replaces control characters, which could move the cursor or forge a second line, and cuts long text.
    ///
    /// - Parameters:
    ///   - text: Anything.
    ///   - limit: How many characters are kept; an ellipsis stands for the rest.
    /// - Returns: The text, fit to be shown.
    static func text(_ text: String, limit: Int = 200) -> String {
        var result = ""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == limit { return result + "…" }
            result.unicodeScalars.append(self.isPrintable(scalar) ? scalar : "?")
            count += 1
        }
        return result
    }

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

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        // Format characters among them: they turn the direction of writing, so that a name shows as another.
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            false
        default: true
        }
    }
}
