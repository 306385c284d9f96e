import ArgumentParser
import Glibc

/// The command `tetherfs`.
///
/// Synchronous: libfuse's loop must run on the main thread.
@main
struct TetherfsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tetherfs",
        abstract: "Mounts remote filesystems.",
        discussion: """
            Examples:
              tetherfs login
              tetherfs doctor
              tetherfs mount data ~/data
              tetherfs status ~/data
              tetherfs unmount ~/data
            """,
        version: "0.1.0",
        subcommands: [
            MountCommand.self,
            UnmountCommand.self,
            FlushCommand.self,
            StatusCommand.self,
            ListCommand.self,
            LogLevelCommand.self,
            StatsCommand.self,
            DoctorCommand.self,
            RecoverCommand.self,
            FilesystemsCommand.self,
            CopyCommand.self,
            ListFilesCommand.self,
            MakeDirectoryCommand.self,
            RemoveCommand.self,
            DiskUsageCommand.self,
            ConfigCommand.self,
            LoginCommand.self,
            LogoutCommand.self,
            WatchMountCommand.self,
        ]
    )

    static func main() {
        self.holdStandardDescriptors()
        // A peer that is gone is an error where it is written to.
        signal(SIGPIPE, SIG_IGN)
        // libdispatch tells syslog, three times each start, that who is not root may not raise a thread's priority.
        setenv("LIBDISPATCH_LOG", "NO", 0)
        // Not exit(3): OpenSSL's clean-up would run beside the HTTP thread. What is printed is written at once.
        _exit(self.run(CommandLine.arguments))
    }

    /// Runs the command of these arguments, the first of which is the program's name: mount(8) calls by another.
    ///
    /// - Returns: The exit status.
    static func run(_ arguments: [String]) -> Int32 {
        var asked: [String] = []
        do {
            let commands = Set(self.configuration.subcommands.compactMap { $0.configuration.commandName })
            guard case .command(let arguments) = try MountCaller.request(arguments, commands: commands) else {
                return ExitStatus.success.rawValue
            }
            asked = arguments
            var command = try self.parseAsRoot(MountOptionsParser.separated(arguments))
            try command.run()
            return ExitStatus.success.rawValue
        } catch let error as UserError {
            Terminal.note(error.description)
            return error.status.rawValue
        } catch let status as ExitStatus {
            return status.rawValue
        } catch {
            let code = self.exitCode(for: error)
            // Help is no error, and a status alone has no words.
            guard !code.isSuccess, !(error is ExitCode) else {
                guard arguments.dropFirst().first == "--generate-completion-script" else {
                    self.exit(withError: error)
                }
                Terminal.print(CompletionScript.amended(self.fullMessage(for: error)))
                return code.rawValue
            }
            let words = self.message(for: error).split(whereSeparator: \.isNewline).first ?? "wrong use"
            Terminal.note(TypedCommand(asked, of: self).line(String(words)))
            return code.rawValue
        }
    }

    /// A program started without stdin, stdout or stderr would get other files under their numbers.
    private static func holdStandardDescriptors() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            _ = open("/dev/null", O_RDWR)
        }
    }
}
