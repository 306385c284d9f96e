import ArgumentParser

/// The command that somebody typed, as far as its words name one: for the line that says what is wrong.
struct TypedCommand {
    /// The words of it, such as `tetherfs filesystems share`.
    private(set) var words: [String]
    /// A word where another command's name should be.
    private(set) var unknown: String?
    private var subcommands: [any ParsableCommand.Type]

    /// Reads arguments, without the program's name.
    init(_ arguments: [String], of root: any ParsableCommand.Type) {
        self.words = [root._commandName]
        self.subcommands = root.configuration.subcommands
        for argument in arguments {
            guard let command = self.subcommands.first(where: { $0._commandName == argument }) else {
                if !self.subcommands.isEmpty, !argument.hasPrefix("-") { self.unknown = argument }
                return
            }
            self.words.append(argument)
            self.subcommands = command.configuration.subcommands
        }
    }

    /// The line for a mistake in it.
    ///
    /// - Parameter words: What the parser says of it.
    /// - Returns: That, or what command may have been meant, and where there is help.
    func line(_ words: String) -> String {
        let help = "; see: \(self.words.joined(separator: " ")) --help"
        guard let unknown else { return Printable.text(words) + help }
        let names = self.subcommands.filter { $0.configuration.shouldDisplay }.map { $0._commandName }
        return "no command '\(Printable.text(unknown))'\(NearSpelling.hint(unknown, among: names))\(help)"
    }
}
