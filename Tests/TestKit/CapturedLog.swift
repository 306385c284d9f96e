import Logging
import Synchronization

/// What was logged.
public final class CapturedLog: Sendable {
    private let lines = Mutex<[String]>([])

    /// Nothing yet.
    public init() {}

    /// Messages with their metadata, a line each.
    public var text: [String] { self.lines.withLock { $0 } }

    /// A logger that writes here, at every level.
    public var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }
            let line =
                "\(event.level) \(event.message) \(metadata.map { "\($0)=\($1)" }.joined(separator: " "))"
            self.log.lines.withLock { $0.append(line) }
        }
    }
}
