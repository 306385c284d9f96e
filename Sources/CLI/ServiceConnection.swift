import Logging
import RemoteAPI
import Transport
import WireFormat

/// The service as commands use it: its errors are lines for the person who typed the command.
struct ServiceConnection: Sendable {
    /// The client, for what goes on after the first answer.
    let client: RemoteClient
    /// What carries its requests.
    let transport: CurlTransport
    /// The words for what calls end with.
    let describe: ServiceErrorText

    /// Reads the key; nothing is sent yet.
    ///
    /// - Parameters:
    ///   - configuration: Which service, and how to speak to it.
    ///   - spareConnections: How many connections are kept ready: what a command that ends soon has no use for.
    ///   - credentials: The key, if it is not where the configuration says.
    ///   - environment: Where a key may be.
    ///   - logger: Told of repeated calls.
    /// - Throws: If there is no usable key, or a file of TLS cannot be used.
    init(
        _ configuration: ServiceConfiguration,
        spareConnections: Int = 0,
        credentials: Credentials? = nil,
        environment: Environment = .current,
        logger: Logger
    ) throws(UserError) {
        let key: Credentials
        if let credentials {
            key = credentials
        } else {
            key = try Self.credentials(configuration.keySource, environment)
        }
        let tls = try configuration.tls()
        do {
            self.transport = try CurlTransport(
                TransportOptions(spareConnections: spareConnections, tls: tls)
            )
            self.client = RemoteClient(
                endpoint: configuration.endpoint,
                credentials: key,
                transport: self.transport,
                retry: RetryPolicy(
                    requestTimeout: configuration.requestTimeout,
                    retries: configuration.retries
                ),
                logger: logger
            )
        } catch {
            throw UserError("cannot start the HTTP client: \(Printable.text("\(error)"))")
        }
        self.describe = ServiceErrorText(endpoint: configuration.endpoint, keySource: configuration.keySource)
    }

    private static func credentials(
        _ source: KeySource,
        _ environment: Environment
    ) throws(UserError) -> Credentials {
        do throws(CredentialsError) {
            switch source {
            case .missing, .input: break
            case .file(let path):
                let credentials = try Credentials(file: path)
                if let bytes = try? Descriptor.readFile(path, limit: 64 << 10) {
                    Secrets.shared.add(String(decoding: bytes, as: UTF8.self).trimmed)
                }
                return credentials
            case .environment(let name):
                let key = environment[name] ?? ""
                let credentials = try Credentials(key: key)
                Secrets.shared.add(key.trimmed)
                return credentials
            }
        } catch {
            // Paths, and a command with one, which is of no use if it is cut.
            throw UserError(Printable.text(error.description, limit: .max))
        }
        throw ServiceConfiguration.noKey
    }

    /// The filesystems that the key may use.
    ///
    /// - Parameter limit: How long it may take with all repetitions; without one as long as the policy says.
    /// - Returns: Them, in the server's order.
    /// - Throws: The line for what went wrong.
    func filesystems(limit: Duration? = nil) throws(UserError) -> [FilesystemBody] {
        let client = self.client
        return try self.call(limit: limit) { try await client.filesystems() }
    }

    /// The filesystem that somebody named.
    func filesystem(_ text: String, limit: Duration? = nil) throws(UserError) -> FilesystemBody {
        try FilesystemChoice(try self.filesystems(limit: limit)).filesystem(text)
    }

    /// Makes one call of the client and waits for it. Not from Swift's own pool.
    ///
    /// - Parameters:
    ///   - limit: How long it may take with all repetitions; without one as long as the policy says.
    ///   - conflict: The line for when it is done already.
    ///   - body: The call.
    /// - Returns: What the call returned.
    /// - Throws: The line for what went wrong.
    func call<Value: Sendable>(
        limit: Duration? = nil,
        conflict: String? = nil,
        _ body: @escaping @Sendable () async throws -> Value
    ) throws(UserError) -> Value {
        let deadline = limit.map { ContinuousClock.now + $0 }
        var isLate = false
        do {
            return try Blocking.run(
                checkingEvery: .milliseconds(100),
                {
                    isLate = deadline.map { ContinuousClock.now >= $0 } ?? false
                    return !isLate
                },
                body
            )
        } catch let error as RemoteError {
            if isLate, error == .cancelled, let limit { throw self.describe.noAnswer(within: limit) }
            if error == .alreadyExists, let conflict { throw UserError(conflict) }
            throw self.describe(error)
        } catch {
            throw UserError(Printable.text("\(error)"))
        }
    }
}

extension String {
    /// Without white space around it.
    var trimmed: String {
        String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
