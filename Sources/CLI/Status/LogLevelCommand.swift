import ArgumentParser

/// `tetherfs log-level`.
struct LogLevelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log-level",
        abstract: "Shows or changes how much a running mount logs.",
        usage: "tetherfs log-level <mountpoint> [<level>]",
        discussion: """
            Levels: \(LogState.levelNames).
            A mount begins with what --log-level said, else with info: what is worth an
            operator's look, nothing for each operation. debug has failed requests,
            repetitions and request ids.

            Examples:
              tetherfs log-level ~/data          says which level it is
              tetherfs log-level ~/data debug
            """
    )

    @Argument(help: "Where it is mounted.", completion: CommandCompletion.mountPoints)
    var mountpoint: String

    @Argument(
        help: "The least level that is logged from now on.",
        completion: CommandCompletion.logLevels
    )
    var level: String?

    func run() throws {
        if let level, LogState.level(level) == nil {
            throw UserError("'\(Printable.text(level))' must be one of \(LogState.levelNames)")
        }
        let driver = try MountedDriver(self.mountpoint, environment: .current)
        let request = ControlRequest(command: .logLevel, level: self.level)
        let reply = try driver.ask(request, for: "change its log", silenceLimit: 5000)
        let answer = Printable.text(reply.message ?? "the driver gave no reason")
        guard reply.ok else { throw UserError(answer) }
        if self.level == nil { Terminal.print(answer) }
    }
}
