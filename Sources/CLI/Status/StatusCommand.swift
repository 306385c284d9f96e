import ArgumentParser
import Glibc

/// `tetherfs status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Says how a mount goes, and what goes wrong.",
        usage: "tetherfs status [<mountpoint>] [--json] [--watch]",
        discussion: """
            Examples:
              tetherfs status                  all of your mounts
              tetherfs status ~/data --watch   again every second, until Ctrl-C
              tetherfs status ~/data --json    for scripts: sizes in bytes, times in s
            """
    )

    @Argument(
        help: "Where it is mounted (default: all of your mounts).",
        completion: CommandCompletion.mountPoints
    )
    var mountpoint: String?

    @Flag(help: "Print a JSON object; an array of them without a mount point.")
    var json = false

    @Flag(help: "Go on, once a second.")
    var watch = false

    func run() throws {
        var reader = try StatusReader(self.mountpoint, environment: .current)
        var isFine = try self.show(reader.readThroughput(), reader)
        while self.watch {
            usleep(1_000_000)
            isFine = try self.show(reader.readThroughput(), reader)
        }
        if !isFine { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    /// - Returns: Whether all answered.
    private func show(_ reports: [StatusReader.Report], _ reader: StatusReader) throws -> Bool {
        if self.json {
            Terminal.print(try self.json(reports, isOne: reader.isOne))
        } else {
            self.print(reports)
        }
        return reports.allSatisfy { $0.outcome.status != nil }
    }

    private func json(_ reports: [StatusReader.Report], isOne: Bool) throws -> String {
        if isOne, let status = reports.first?.outcome.status { return try FilesystemTable.json(status) }
        let parts = try reports.map { report in
            guard let status = report.outcome.status else {
                return try FilesystemTable.json(MountListing(report.mount, report.outcome))
            }
            return try FilesystemTable.json(status)
        }
        return "[\(parts.joined(separator: ","))]"
    }

    private func print(_ reports: [StatusReader.Report]) {
        var lines: [String] = []
        for report in reports {
            if !lines.isEmpty { lines.append("") }
            if let status = report.outcome.status {
                lines += status.lines
            } else {
                let mount = report.mount
                lines.append("\(mount.source) at \(mount.mountPoint)")
                report.outcome.refusal.map { lines.append($0) }
            }
        }
        if self.watch, Terminal.hasPersonAtStandardOutput {
            Terminal.showScreen(reports.isEmpty ? ["nothing is mounted"] : lines)
        } else {
            if reports.isEmpty { Terminal.note("nothing is mounted") }
            // A blank line ends each round, where one follows the other.
            if self.watch { lines.append("") }
            lines.forEach { Terminal.print(Printable.text($0, limit: 1000)) }
        }
    }
}
