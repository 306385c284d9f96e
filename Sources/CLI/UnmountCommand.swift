import ArgumentParser

/// `tetherfs unmount`.
struct UnmountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "Waits until everything is uploaded, then unmounts.",
        discussion:
            "Fails, saying why, and leaves the mount, if something cannot be uploaded or files are in use."
    )

    @Argument(help: "Where it is mounted.")
    var mountpoint: String

    func run() throws {
        try Unmount(self.mountpoint, environment: .current).run()
    }
}
