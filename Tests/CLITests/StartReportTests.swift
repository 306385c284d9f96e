import Glibc
import Testing

@testable import CLI

@Suite("What the starter hears from the driver")
struct StartReportTests {
    private func heard(_ say: (ReadyPipe) -> Void) throws -> StartReport {
        let pipe = try Pipe()
        defer { close(pipe.readEnd) }
        let driver = ReadyPipe(pipe.writeEnd)
        say(driver)
        return StartReport.wait(on: pipe.readEnd, limit: .seconds(10), isInterrupted: { false })
    }

    @Test("It is ready")
    func ready() throws {
        #expect(try self.heard { $0.reportReady() } == .ready)
    }

    @Test("The driver's line arrives, and only the first word counts")
    func failed() throws {
        let report = try self.heard { driver in
            driver.report(UserError("no such thing"))
            #expect(!driver.reportReady())
        }
        #expect(report == .failed("no such thing"))
    }

    @Test("A driver that ends without a word is noticed")
    func ended() throws {
        let pipe = try Pipe()
        defer { close(pipe.readEnd) }
        close(pipe.writeEnd)
        #expect(StartReport.wait(on: pipe.readEnd, limit: .seconds(10), isInterrupted: { false }) == .ended)
    }

    @Test("The limit and an interruption end the wait")
    func limits() throws {
        let pipe = try Pipe()
        defer {
            close(pipe.readEnd)
            close(pipe.writeEnd)
        }
        #expect(
            StartReport.wait(on: pipe.readEnd, limit: .milliseconds(1), isInterrupted: { false }) == .timedOut
        )
        #expect(
            StartReport.wait(on: pipe.readEnd, limit: .seconds(10), isInterrupted: { true }) == .interrupted
        )
    }

    @Test("A child process ends with its status and its words")
    func childProcess() throws {
        let (status, errors) = try ChildProcess.run("/bin/sh", ["-c", "echo words >&2; exit 3"])
        #expect(status == 3)
        #expect(errors == "words\n")
    }
}
