import ArgumentParser

/// `tetherfs stats`.
struct StatsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Prints a mount's figures for Prometheus.",
        usage: "tetherfs stats [<mountpoint>]",
        discussion: """
            The text format of Prometheus, as node_exporter takes it from a file:
              tetherfs stats > f.tmp && mv f.tmp /var/lib/node_exporter/tetherfs.prom
            With --metrics-listen a mount serves the same by HTTP, to this machine alone:
              tetherfs mount data ~/data --metrics-listen 127.0.0.1:9713
              curl http://127.0.0.1:9713/metrics

            Examples:
              tetherfs stats ~/data
              tetherfs stats          all of your mounts
            """
    )

    @Argument(
        help: "Where it is mounted (default: all of your mounts).",
        completion: CommandCompletion.mountPoints
    )
    var mountpoint: String?

    func run() throws {
        var reader = try StatusReader(self.mountpoint, environment: .current)
        let reports = try reader.read()
        Terminal.write(MetricsText(reports.compactMap(\.outcome.status)).text)
        for report in reports {
            guard let refusal = report.outcome.refusal else { continue }
            Terminal.note("\(Printable.text(report.mount.mountPoint)): \(Printable.text(refusal))")
        }
        if reports.contains(where: { $0.outcome.status == nil }) {
            throw ExitCode(ExitStatus.failure.rawValue)
        }
    }
}
