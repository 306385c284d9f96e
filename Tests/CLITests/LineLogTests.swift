import Glibc
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
        let handler = LineLog(LogState(.info), format: format, secrets: secrets) { line in
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

    @Test(
        "A value forges no other, also if a mark combines with its quote, blank or equals sign",
        arguments: [
            ("1\" b=2", "\"1\\\" b=2\""), ("1\"\u{301}", "\"1\\\"\u{301}\""),
            ("1 \u{301}b", "\"1 \u{301}b\""),
            ("b=\u{301}2", "\"b=\u{301}2\""), ("1 \\\u{301}", "\"1 \\\\\u{301}\""),
        ]
    )
    func forged(value: String, quoted: String) {
        let log = self.written(.journal) { $0.warning("it broke", metadata: ["a": "\(value)"]) }
        #expect(log == "<4>it broke a=\(quoted)\n")
    }

    @Test("Outside the journal a line begins with the time in UTC and the level")
    func time() {
        let handler = LineLog(LogState(.info), format: .plain)
        #expect(handler.line("late", .error, at: 1_767_225_600) == "2026-01-01T00:00:00Z error late\n")
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

@Suite("The log's level and memory")
struct LogStateTests {
    @Test("A level that changes while it runs holds for loggers that were made before")
    func level() {
        let state = LogState(.info)
        let lines = Mutex<[String]>([])
        let handler = LineLog(state, format: .journal) { line in lines.withLock { $0.append(line) } }
        let logger = Logger(label: "test") { _ in handler }
        logger.debug("one")
        state.level = .debug
        logger.debug("two")
        state.level = .error
        logger.warning("three")
        #expect(lines.withLock { $0 } == ["<7>two\n"])
    }

    @Test("The last warning is remembered, with its time and without the key")
    func lastProblem() {
        let (state, secrets) = (LogState(.info), Secrets())
        secrets.add("secret-key-123")
        let handler = LineLog(state, format: .plain, secrets: secrets) { _ in }
        let logger = Logger(label: "test") { _ in handler }
        logger.info("fine")
        #expect(state.lastProblem == nil)
        logger.warning("it broke", metadata: ["cause": "secret-key-123"])
        logger.info("fine again")
        #expect(state.lastProblem?.text == "it broke cause=[hidden]")
        #expect(state.lastProblem?.level == "warning" && state.problemCounts == ["warning": 1])
    }

    @Test("A log that is a file never has more than its limit, but for a line, and one earlier file of that")
    func limit() throws {
        let directory = "/tmp/tetherfs-log-\(UInt64.random(in: 0...UInt64.max))"
        #expect(mkdir(directory, 0o700) == 0)
        let path = directory + "/log"
        defer { for path in [path, path + ".1", directory] { remove(path) } }
        #expect(Descriptor.write("of an earlier mount\n", to: try LogFile.open(path)))
        let descriptor = try LogFile.open(path)
        defer { close(descriptor) }
        let log = LogFile(path, descriptor: descriptor, limit: 1000)
        let lines = (100..<900).map { "line \($0)\n" }
        lines.forEach { log.write($0) }
        let (earlier, current) = try (Descriptor.readFile(path + ".1"), Descriptor.readFile(path))
        #expect(earlier.count <= 1010 && current.count <= 1010)
        // The last of them, and none twice.
        let kept = String(decoding: earlier + current, as: UTF8.self)
        #expect(lines.joined().hasSuffix(kept) && earlier.count > 1000)
    }
}
