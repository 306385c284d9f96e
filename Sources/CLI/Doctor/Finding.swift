/// What a check of `tetherfs doctor` came to.
struct Finding: Codable, Sendable, Equatable {
    /// How bad it is.
    enum Level: String, Codable, Sendable {
        /// As it should be.
        case ok
        /// It works, and something may go wrong later, or is worth to be known.
        case warning
        /// A mount would fail, or lose something.
        case error
    }

    /// What was looked at, in a word or two.
    var check: String
    /// How bad it is.
    var level: Level
    /// What was found.
    var text: String
    /// What to do.
    var advice: String?

    /// As it should be.
    static func ok(_ check: String, _ text: String) -> Finding {
        Finding(check: check, level: .ok, text: text)
    }

    /// It works.
    static func warning(_ check: String, _ text: String, _ advice: String? = nil) -> Finding {
        Finding(check: check, level: .warning, text: text, advice: advice)
    }

    /// It does not.
    static func error(_ check: String, _ text: String, _ advice: String? = nil) -> Finding {
        Finding(check: check, level: .error, text: text, advice: advice)
    }

    /// One line for a person.
    ///
    /// - Parameter hasColor: Whether the terminal shows colours.
    /// - Returns: The line.
    func line(hasColor: Bool) -> String {
        let level = Printable.padded(self.level.rawValue, to: 7)
        let colors = [Level.ok: "32", .warning: "33", .error: "31"]
        let shown = hasColor ? "\u{1b}[\(colors[self.level] ?? "0")m\(level)\u{1b}[0m" : level
        // A command that is cut is of no use.
        let advice = self.advice.map { "; " + Printable.text($0, limit: .max) } ?? ""
        return "\(shown) \(self.check): " + Printable.text(self.text, limit: 500) + advice
    }
}
