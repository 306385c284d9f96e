import Glibc

/// Prints lines with names in them on stdout: safe ones on a terminal, elsewhere as they are.
///
/// Lines are written together; the rest of them by ``flush()``.
struct NamePrinter {
    private let ending: String
    private let isTerminal: Bool
    private var waiting = ""

    /// - Parameter endsWithNul: Whether a NUL ends each line, so that every name can be told from the next.
    init(endsWithNul: Bool = false) {
        self.ending = endsWithNul ? "\0" : "\n"
        self.isTerminal = !endsWithNul && isatty(STDOUT_FILENO) == 1
    }

    /// A line.
    mutating func print(_ line: String) throws {
        self.waiting += (self.isTerminal ? Printable.text(line, limit: .max) : line) + self.ending
        // On a terminal somebody waits for each line.
        if self.isTerminal || self.waiting.utf8.count > 64 << 10 { try self.flush() }
    }

    /// Writes what waits.
    ///
    /// - Throws: If nobody reads any more, or it cannot be written.
    mutating func flush() throws {
        guard !self.waiting.isEmpty else { return }
        defer { self.waiting = "" }
        guard !Descriptor.write(self.waiting, to: STDOUT_FILENO) else { return }
        let error = SystemError()
        if error.code == EPIPE { throw ExitStatus.failure }
        throw UserError("cannot write the output: \(error)")
    }
}

/// Prints a JSON array, element by element.
struct JSONArrayPrinter {
    private var lines = NamePrinter()
    private var last: String?

    /// Adds an element.
    mutating func print(_ element: some Encodable) throws {
        let text = try FilesystemTable.json(element)
        if let last = self.last { try self.lines.print(last + ",") }
        self.last = (self.last == nil ? "[" : "") + text
    }

    /// Ends the array.
    mutating func finish() throws {
        try self.lines.print((self.last ?? "[") + "]")
        try self.lines.flush()
    }
}
