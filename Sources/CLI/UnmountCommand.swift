import ArgumentParser

/// `tetherfs unmount`.
struct UnmountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "Waits until everything is uploaded, then unmounts.",
        discussion: """
            Fails, saying why, and leaves the mount, if something cannot be uploaded or
            files are in use.

            Examples:
              tetherfs unmount ~/data
              tetherfs unmount --lazy ~/data    who has files open keeps them
            """
    )

    @Argument(help: "Where it is mounted.", completion: CommandCompletion.mountPoints)
    var mountpoint: String

    @Flag(
        name: [.long, .customShort("l")],
        help: "Take the mount away at once; the driver uploads what waits, and who has files open keeps them."
    )
    var lazy = false

    // For the end of a service, whatever it ended of.
    @Flag(
        help: ArgumentHelp("Take the mount away if its driver is dead, else do nothing.", visibility: .hidden)
    )
    var ifDead = false

    func run() throws {
        let unmount = try Unmount(self.mountpoint, environment: .current)
        if self.ifDead { return try unmount.runIfDead() }
        try self.lazy ? unmount.runLazily() : unmount.run()
    }
}
