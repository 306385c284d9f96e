import Glibc

/// Standard output and error, unbuffered: a line is out when the call returns.
enum StandardStreams {
    /// Writes a line to standard output.
    static func printLine(_ text: String) { Self.write(text + "\n", to: STDOUT_FILENO) }

    /// Writes a line to standard error.
    static func printError(_ text: String) { Self.write(text + "\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            // Nobody reads it any more.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
