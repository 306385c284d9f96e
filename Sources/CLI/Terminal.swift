import Glibc

/// What the person in front sees: lines on stderr, answers on stdout, and a line that is written over.
enum Terminal {
    /// Whether a person sees what goes to stderr.
    static var hasPersonAtStandardError: Bool { isatty(STDERR_FILENO) == 1 }

    /// Whether a person sees what goes to stdout.
    static var hasPersonAtStandardOutput: Bool { isatty(STDOUT_FILENO) == 1 }

    /// How many columns stdout has; nothing if it is no terminal, or does not say.
    static var width: Int? { self.size(of: STDOUT_FILENO).map { Int($0.ws_col) } }

    /// How many columns stderr has; 80 if it does not say.
    static var columnsAtStandardError: Int { self.size(of: STDERR_FILENO).map { Int($0.ws_col) } ?? 80 }

    /// Whether stdout shows colours, and nobody asked for none (https://no-color.org).
    static func hasColor(_ environment: Environment) -> Bool {
        self.hasPersonAtStandardOutput && environment["NO_COLOR"] == nil && environment["TERM"] != "dumb"
    }

    private static func size(of descriptor: Int32) -> winsize? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return size
    }

    /// Whether a person can be asked.
    static var canAsk: Bool { isatty(STDIN_FILENO) == 1 && self.hasPersonAtStandardError }

    /// An answer to the command: what a script reads.
    static func print(_ line: String) {
        self.write(line + "\n")
    }

    /// Lines of an answer, with their ends.
    static func write(_ text: String) {
        Descriptor.write(text, to: STDOUT_FILENO)
    }

    /// A line about the command, after the program's name.
    static func note(_ line: String) {
        Descriptor.write("tetherfs: \(line)\n", to: STDERR_FILENO)
    }

    /// Writes over the progress line; nothing where nobody watches.
    static func showProgress(_ text: String) {
        guard self.hasPersonAtStandardError else { return }
        // Not in the last column, where some terminals go on to the next line, which is then not written over.
        let limit = max(1, self.columnsAtStandardError - 2)
        Descriptor.write("\r\u{1b}[K\(Printable.text(text, limit: limit))", to: STDERR_FILENO)
    }

    /// Takes the progress line away.
    static func clearProgress() {
        guard self.hasPersonAtStandardError else { return }
        Descriptor.write("\r\u{1b}[K", to: STDERR_FILENO)
    }

    /// Writes a screen over the last one; what does not fit is cut off.
    static func showScreen(_ lines: [String]) {
        let size = self.size(of: STDOUT_FILENO)
        let (width, height) = (Int(size?.ws_col ?? 80), Int(size?.ws_row ?? 24))
        // One row less, and one column less: the cursor after the last one would scroll or wrap.
        let shown = lines.prefix(max(1, height - 1)).map {
            Printable.text($0, limit: max(1, width - 2)) + "\u{1b}[K\n"
        }
        Descriptor.write("\u{1b}[H" + shown.joined() + "\u{1b}[J", to: STDOUT_FILENO)
    }

    /// Asks for a line.
    ///
    /// - Returns: The line without its end; nothing at the end of input.
    static func ask(_ question: String) -> String? {
        Descriptor.write(question, to: STDERR_FILENO)
        return readLine(strippingNewline: true)
    }

    /// Asks for a line that is not shown while it is typed. A signal that ends the process leaves the terminal as it was.
    ///
    /// - Returns: The line without its end; nothing at the end of input.
    static func askSecretly(_ question: String) -> String? {
        let signals = BlockedSignals()
        var settings = termios()
        tcgetattr(STDIN_FILENO, &settings)
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
            Descriptor.write("\n", to: STDERR_FILENO)
            signals.unblock()
        }
        // After the echo is off: who pastes at once would see it.
        Descriptor.write(question, to: STDERR_FILENO)
        while !signals.hasArrived {
            guard Descriptor.waitUntilReadable(STDIN_FILENO, milliseconds: 100) else { continue }
            // A terminal gives a line at a time.
            guard let bytes = try? Descriptor.read(STDIN_FILENO, limit: 64 << 10), !bytes.isEmpty else {
                break
            }
            return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        }
        return nil
    }
}
