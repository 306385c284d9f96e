import RemoteAPI
import Synchronization
import WireFormat

/// One run of a command on files: the service, what went wrong so far, and so what it ends with.
final class FileCommandRun: Sendable {
    private let connection: ServiceConnection
    private let filesystems: Mutex<[String: RemoteClientFilesystem]> = Mutex([:])
    private let failures = Mutex(0)

    /// Finds the filesystems of these places; one request for all of them.
    ///
    /// - Throws: If one is not there, with what to do.
    init(_ connection: ServiceConnection, _ locations: some Sequence<RemoteLocation>) throws(UserError) {
        self.connection = connection
        let names = Set(locations.map(\.filesystem)).sorted()
        guard !names.isEmpty else { return }
        let choice = FilesystemChoice(try connection.filesystems())
        for name in names {
            let id = try choice.filesystem(name).checkedID
            self.filesystems.withLock { $0[name] = connection.client.filesystem(id) }
        }
    }

    /// The calls of a place's filesystem, which was among those found.
    func remote(_ location: RemoteLocation) -> RemoteClientFilesystem {
        guard let remote = self.filesystems.withLock({ $0[location.filesystem] }) else {
            preconditionFailure("every filesystem is found at the start")
        }
        return remote
    }

    /// Runs what is asynchronous, from a thread that may wait.
    func wait<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
        try Blocking.run(body)
    }

    /// Tells what cannot be done with one place; the command goes on with the others.
    func fail(_ place: String, _ reason: String) {
        self.failures.withLock { $0 += 1 }
        Terminal.clearProgress()
        Terminal.note("\(place): \(reason)")
    }

    /// The same for what the service said.
    func fail(_ location: RemoteLocation, _ error: RemoteError) {
        self.fail(location.shown, self.words(error))
    }

    /// What the service said, in the words for a file.
    func words(_ error: RemoteError) -> String {
        error == .notFound ? "no such file or directory" : self.connection.describe(error).description
    }

    /// How often it was told that something cannot be done.
    var failureCount: Int { self.failures.withLock { $0 } }

    /// Ends the command.
    ///
    /// - Throws: The status, if something went wrong.
    func finish() throws(ExitStatus) {
        if self.failureCount > 0 { throw .failure }
    }
}

extension ConnectionOptions {
    /// Begins a command on these places.
    func open(_ locations: [RemoteLocation]) throws(UserError) -> FileCommandRun {
        try FileCommandRun(try self.connect(), locations)
    }
}
