import ArgumentParser
import Logging

/// `tetherfs mount`.
struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Mounts a filesystem and returns once it answers.",
        discussion: """
            Examples:
              tetherfs mount data ~/data --api-key-file ~/.tetherfs-key
              tetherfs mount data ~/data -o allow_other,umask=022,metadata_ttl=60
              tetherfs mount --profile work ~/work
            All options: tetherfs mount --help-hidden, and man tetherfs.
            """
    )

    @Argument(help: "Its name, id or URL; a profile may have it.", completion: CommandCompletion.filesystems)
    var filesystem: String

    @Argument(help: "A directory.", completion: .directory)
    var mountpoint: String?

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    @OptionGroup(title: "Mount")
    var flags: MountFlags

    func run() throws {
        let environment = Environment.current
        let pipe = ReadyPipe.inherited(environment)
        do {
            let configuration = try self.configuration(environment)
            let status = try self.mount(configuration, environment, pipe)
            if status != 0 { throw ExitCode(status) }
        } catch let error as UserError {
            // The journal has it from the starter, which hears it here.
            if pipe?.report(error) == true, JournalStream.isStandardError(environment) {
                throw ExitCode(error.status.rawValue)
            }
            throw error
        }
    }

    private func mount(
        _ configuration: MountConfiguration,
        _ environment: Environment,
        _ pipe: ReadyPipe?
    ) throws -> Int32 {
        do {
            return try Mount(configuration, environment: environment, pipe: pipe).run()
        } catch let error as UserError {
            throw error.asMountFailure
        }
    }

    /// What the flags, `-o`, the environment and the profile come to, in this order.
    func configuration(_ environment: Environment) throws(UserError) -> MountConfiguration {
        var source: MountSource?
        if self.mountpoint != nil { source = try MountSource(self.filesystem) }
        let (layers, kernelOptions) = try self.flags.layers(
            self.connection,
            environment,
            endpoint: source?.endpoint
        )
        if source == nil, let setting = layers[.filesystem] {
            source = try MountSource(setting.text)
            guard source?.endpoint == nil else {
                throw UserError("\(setting.origin) must be a name or an id: the URL is for endpoint")
            }
        }
        guard let source else {
            throw UserError(
                "there is only one operand: give filesystem and mountpoint, or a profile that has a filesystem"
            )
        }
        return try MountConfiguration(
            source: source,
            mountPoint: MountPoint(self.mountpoint ?? self.filesystem).path,
            layers: layers,
            kernelOptions: kernelOptions,
            environment: environment
        )
    }
}
