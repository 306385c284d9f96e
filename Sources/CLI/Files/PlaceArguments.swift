import ArgumentParser

/// What `ls`, `du`, `mkdir` and `rm` take: places in filesystems, and how the service is reached.
struct PlaceArguments: ParsableArguments {
    @Argument(
        help: ArgumentHelp("Files or directories.", valueName: "NAME:/path"),
        completion: CommandCompletion.places
    )
    var names: [String]

    @OptionGroup(title: "Connection")
    var connection: ConnectionOptions

    /// Runs a command on the places to its end.
    ///
    /// - Parameters:
    ///   - check: Refuses a place before anything is sent.
    ///   - body: What is done.
    /// - Throws: What kept it from beginning, or the status, if something went wrong with one of them.
    func run(
        check: (RemoteLocation) throws -> Void = { _ in },
        _ body: @escaping @Sendable (FileCommandRun, [RemoteLocation]) async throws -> Void
    ) throws {
        let places = try self.names.map(RemoteLocation.required)
        try places.forEach(check)
        let run = try self.connection.open(places)
        try run.wait { try await body(run, places) }
        try run.finish()
    }
}

/// How `tetherfs ls` and `du` print.
struct OutputFormat: ParsableArguments {
    @Flag(name: [.customLong("human")], help: "Sizes such as 1.2M.")
    var human = false

    @Flag(
        name: [.customShort("0"), .customLong("zero")],
        help: "End each line with a NUL, names as they are."
    )
    var zero = false

    @Flag(help: "Print a JSON array.")
    var json = false

    func validate() throws {
        if self.json, self.zero { throw ValidationError("--json and -0 exclude each other") }
    }
}
