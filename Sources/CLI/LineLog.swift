import Glibc
import Logging

/// One line per event on stderr: for journald with its priority, for a file or a person with time and level.
struct LineLog: LogHandler {
    /// How a line begins.
    enum Format: Sendable {
        /// `<4>message key=value`: journald takes the number as the priority and adds the time itself.
        case journal
        /// `2026-01-01T00:00:00Z warning message key=value`.
        case plain
    }

    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let format: Format
    private let secrets: Secrets
    private let write: @Sendable (String) -> Void
    /// Of the whole process.
    private let state: LogState
    /// Of this logger alone, where it was set.
    private var ownLevel: Logger.Level?

    /// Makes one.
    ///
    /// - Parameters:
    ///   - state: Its least level, and what remembers trouble.
    ///   - format: How a line begins.
    ///   - secrets: What no line may hold.
    ///   - write: Takes each line, with its end.
    init(
        _ state: LogState,
        format: Format,
        secrets: Secrets = .shared,
        write: @escaping @Sendable (String) -> Void = { Descriptor.write($0, to: STDERR_FILENO) }
    ) {
        self.state = state
        self.format = format
        self.secrets = secrets
        self.write = write
    }

    /// The least level that is written.
    var logLevel: Logger.Level {
        get { self.ownLevel ?? self.state.level }
        set { self.ownLevel = newValue }
    }

    /// The log of this process.
    ///
    /// - Parameters:
    ///   - state: Its least level, and what remembers trouble.
    ///   - environment: Says whether stderr is the journal.
    ///   - path: The file that stderr is otherwise, if it is one that has a limit.
    /// - Returns: Its logger.
    static func logger(_ state: LogState, environment: Environment, file path: String? = nil) -> Logger {
        if JournalStream.isStandardError(environment) {
            return Logger(label: "tetherfs") { _ in LineLog(state, format: .journal) }
        }
        guard let path else { return Logger(label: "tetherfs") { _ in LineLog(state, format: .plain) } }
        let file = LogFile(path)
        return Logger(label: "tetherfs") { _ in LineLog(state, format: .plain, write: file.write) }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let (now, text) = (time(nil), self.text(event))
        self.state.note(event.level, text, at: Int64(now))
        self.write(self.line(text, event.level, at: now))
    }

    /// The line of one event.
    func line(_ text: String, _ level: Logger.Level, at time: time_t) -> String {
        switch self.format {
        case .journal: "<\(Self.priority(level))>\(text)\n"
        case .plain: "\(TimeText.utc(Int64(time))) \(level.rawValue) \(text)\n"
        }
    }

    /// What an event says, its values in the order of their names.
    private func text(_ event: LogEvent) -> String {
        var values = self.metadata.merging(self.metadataProvider?.get() ?? [:]) { $1 }
        values.merge(event.metadata ?? [:]) { $1 }
        if let error = event.error { values["error"] = .string("\(error)") }
        var line = self.clean(event.message.description)
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            let text = Secrets.isSecret(key: key) ? Secrets.mask : self.clean(value.description)
            line += " \(self.clean(key))=\(Self.quoted(text))"
        }
        return line
    }

    /// 4096: a name may have 255 bytes and a path some; what is longer is nothing for a log.
    private func clean(_ text: String) -> String {
        Printable.text(self.secrets.masked(text), limit: 4096)
    }

    private static func quoted(_ text: String) -> String {
        // Scalars: a mark may combine with a quote, a blank or an equals sign.
        let needsQuotes = text.unicodeScalars.contains {
            $0.properties.isWhitespace || $0 == "\"" || $0 == "="
        }
        guard text.isEmpty || needsQuotes else { return text }
        return "\"\(Printable.escaped(text) { $0 == "\\" || $0 == "\"" })\""
    }

    /// The numbers of syslog(3).
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

/// Whether journald reads what goes to stderr.
enum JournalStream {
    /// `JOURNAL_STREAM` is inherited, also by a shell whose stderr is a terminal: the descriptor itself must be the one
    /// it names (systemd.exec(5)).
    static func isStandardError(_ environment: Environment) -> Bool {
        guard let stream = environment["JOURNAL_STREAM"], let status = FileStatus(of: STDERR_FILENO) else {
            return false
        }
        return stream == "\(status.identity.device):\(status.identity.inode)"
    }
}
