import ArgumentParser
import Dispatch

/// `tetherfs doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Looks for what would keep a mount from working.",
        usage: "tetherfs doctor [--json] [<options of mount>]",
        discussion: """
            A line for each thing it looks at: ok, warning or error, and what to do. The
            status is 1 if there is an error. It changes nothing on the server.

            Examples:
              tetherfs doctor
              tetherfs doctor --endpoint https://host/v1 --api-key-file ~/key
            """
    )

    @Flag(help: "Print a JSON array.")
    var json = false

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    // A whole command of mount can be looked at.
    @OptionGroup(visibility: .hidden)
    var flags: MountFlags

    func run() throws {
        let environment = Environment.current
        var findings: [Finding] = []
        let hasColor = Terminal.hasColor(environment)
        func tell(_ finding: Finding) {
            findings.append(finding)
            if !self.json { Terminal.print(finding.line(hasColor: hasColor)) }
        }
        let settings = Result { () throws(UserError) in
            try self.flags.layers(self.connection, environment).layers
        }
        let allowsOthers = (try? settings.get())?.isOn(.allowOther) ?? self.flags.allowOther
        FuseCheck(environment: environment, allowsOthers: allowsOthers).findings.forEach(tell)
        do throws(UserError) {
            let layers = try settings.get()
            self.cacheFindings(layers, environment).forEach(tell)
            let service = try ServiceConfiguration(layers, environment: environment)
            // What a mount alone needs keeps nobody from looking at the service.
            self.mountFindings(layers, environment).forEach(tell)
            try self.check(of: service, environment).run(tell)
        } catch {
            tell(.error("configuration", error.description))
        }
        if self.json { Terminal.print(try FilesystemTable.json(findings)) }
        if findings.contains(where: { $0.level == .error }) { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    private func cacheFindings(_ layers: SettingLayers, _ environment: Environment) -> [Finding] {
        guard let path = layers[.cacheDirectory]?.text ?? environment.defaultCacheDirectory, !path.isEmpty
        else {
            // No place for it is an error of the mount's configuration, and told as that.
            return []
        }
        let check = CacheDirectoryCheck(path: FilePath.absolute(path), userID: environment.userID)
        // A disk that hangs holds whoever asks.
        let answer = Answer<[Finding]>()
        DetachedThread.start { answer.set(check.findings) }
        return answer.value(within: .seconds(10))
            ?? [.error("cache directory", "\(Printable.text(path)): its disk does not answer within 10 s")]
    }

    private func mountFindings(_ layers: SettingLayers, _ environment: Environment) -> [Finding] {
        do throws(UserError) {
            _ = try MountConfiguration(unmounted: layers, environment: environment)
            return []
        } catch {
            return [.error("configuration", error.description)]
        }
    }

    private func check(
        of service: ServiceConfiguration,
        _ environment: Environment
    ) throws(UserError) -> ServiceCheck {
        var configuration = service
        // What is met once is what is told.
        configuration.retries = 0
        let logger = LineLog.logger(LogState(.critical), environment: environment)
        return ServiceCheck(
            configuration: configuration,
            connection: try ServiceConnection(configuration, environment: environment, logger: logger),
            environment: environment
        )
    }
}
