import Logging
import Synchronization
import Testing

@testable import CLI

@Suite("The log")
struct LineLogTests {
    private final class Lines: Sendable {
        let text = Mutex("")
    }

    private func written(_ format: LineLog.Format, _ body: (Logger) -> Void) -> String {
        let lines = Lines()
        let secrets = Secrets()
        secrets.add("secret-key-123")
        let handler = LineLog(level: .info, format: format, secrets: secrets) { line in
            lines.text.withLock { $0 += line }
        }
        body(Logger(label: "test") { _ in handler })
        return lines.text.withLock { $0 }
    }

    @Test("An event is one line, its values in order, with quotes where they are needed")
    func line() {
        let log = self.written(.journal) {
            $0.warning("it broke", metadata: ["b": "two words", "a": "1\n2"])
        }
        #expect(log == "<4>it broke a=1?2 b=\"two words\"\n")
    }

    @Test("Outside the journal a line begins with the time in UTC and the level")
    func time() {
        let handler = LineLog(level: .info, format: .plain)
        let event = LogEvent(
            level: .error,
            message: "late",
            metadata: nil,
            source: "",
            file: "",
            function: "",
            line: 0
        )
        #expect(handler.line(event, at: 1_767_225_600) == "2026-01-01T00:00:00Z error late\n")
    }

    @Test("The key shows in no line, however it gets there")
    func secrets() {
        let log = self.written(.plain) { logger in
            logger.error(
                "key secret-key-123",
                metadata: ["url": "x?secret-key-123", "Authorization": "other"]
            )
            var logger = logger
            logger[metadataKey: "api_key"] = "another"
            logger.error("more")
        }
        #expect(!log.contains("secret-key-123"))
        #expect(!log.contains("other"))
        #expect(log.contains("[hidden]"))
    }
}
