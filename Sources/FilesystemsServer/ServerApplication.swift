import Glibc
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import ServiceLifecycle

/// A server, from its settings to its graceful end.
struct ServerApplication: Sendable {
    /// All that can be chosen.
    struct Settings: Sendable {
        var dataDirectory: String
        var address: ListenAddress
        /// Empty, or with a slash at its start and none at its end.
        var basePath: String
        /// PEM files of the certificate chain and the key.
        var tls: (certificate: String, key: String)?
        var accessLog: AccessLog.Destination
        /// In seconds.
        var abandonedUploadAge: Int
        /// How long a connection may be silent, and a client take nothing of an answer, in seconds.
        var idleTimeout: Int
        var logLevel: Logger.Level
    }

    /// What is said to the operator instead of serving.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let settings: Settings

    /// How long requests under way may take to end once the server is asked to.
    private static let shutdownTime = Duration.seconds(10)
    private var patience: TimeAmount { .seconds(Int64(self.settings.idleTimeout)) }

    /// Serves until SIGTERM or SIGINT.
    func run() async throws {
        let descriptorLimit = Self.raiseDescriptorLimit()
        var logger = Logger(label: "tetherfs-server") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = self.settings.logLevel
        let log = logger
        let disk = DiskPool.forBytes()
        let directory = try DataDirectory(path: self.settings.dataDirectory, create: true)
        let lock = try directory.lockForServing()
        let catalogue = try directory.openCatalogue()
        let folders = try FolderStore(directory)
        let uploads = UploadStore(folders: folders)
        try await Recovery(catalogue: catalogue, folders: folders).run()
        let owners = try await catalogue.snapshot().filesystems.mapValues(\.owner)
        try await disk.run { try uploads.recover(owners: owners, logger: log) }
        let removal = BackgroundRemoval(
            remover: try TreeRemover(directory),
            catalogue: catalogue,
            disk: disk,
            logger: logger
        )
        removal.start()
        let accessLog: AccessLog
        do {
            accessLog = try AccessLog(self.settings.accessLog)
        } catch {
            throw Failure(description: "cannot open the access log: \(error)")
        }
        let routes = Routes(
            catalogue: catalogue,
            folders: folders,
            uploads: uploads,
            removal: removal,
            disk: disk,
            writing: .forBytes(),
            synchronizing: .forSynchronizing(),
            logger: logger
        )
        let application = Application(
            responder: FilesystemsResponder(
                routes: routes,
                basePath: self.settings.basePath,
                accessLog: accessLog,
                patience: self.patience,
                logger: logger
            ),
            server: try self.makeServer(),
            configuration: ApplicationConfiguration(
                address: .hostname(self.settings.address.host, port: self.settings.address.port),
                // Each may have a file open that it reads or writes, and the last third is for calls under way and all
                // else. Who comes beyond that waits: else those without a key could take all descriptors from those with
                // one.
                availableConnectionsDelegate: .maximum(descriptorLimit / 3, logger: logger)
            ),
            services: [
                UploadSweeper(
                    uploads: uploads,
                    disk: disk,
                    age: self.settings.abandonedUploadAge,
                    logger: logger
                )
            ],
            onServerRunning: { channel in self.announce(channel) },
            logger: logger
        )
        var configuration = ServiceGroupConfiguration(
            services: [application],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: logger
        )
        configuration.maximumGracefulShutdownDuration = Self.shutdownTime
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch let error as IOError {
            throw Failure(
                description:
                    "cannot listen on \(self.settings.address): \(String(cString: strerror(error.errnoCode)))"
            )
        } catch let error as SocketAddressError {
            throw Failure(description: "cannot listen on \(self.settings.address): \(error)")
        }
        // The folder is ours until here.
        withExtendedLifetime(lock) {}
    }

    private func makeServer() throws -> HTTPServerBuilder {
        let http1 = HTTPServerBuilder.http1(configuration: .init(idleTimeout: self.patience))
        guard let files = self.settings.tls else { return http1 }
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
            let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
            return try .tls(
                http1,
                tlsConfiguration: .makeServerConfiguration(
                    certificateChain: chain.map { .certificate($0) },
                    privateKey: .privateKey(key)
                )
            )
        } catch {
            throw Failure(description: "cannot use the TLS certificate and key: \(error)")
        }
    }

    /// Says where it listens, on one line that scripts can wait for.
    private func announce(_ channel: any Channel) {
        let port = channel.localAddress?.port ?? self.settings.address.port
        let address = ListenAddress(host: self.settings.address.host, port: port)
        let scheme = self.settings.tls == nil ? "http" : "https"
        StandardStreams.printLine(
            "tetherfs-server: listening on \(scheme)://\(address)\(self.settings.basePath)"
        )
    }

    /// Each connection is a descriptor and so is each file being read: the usual soft limit of 1024 is too low.
    ///
    /// - Returns: How many there may be now.
    private static func raiseDescriptorLimit() -> Int {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        limit.rlim_cur = limit.rlim_max
        // Where that is not allowed the old limit serves.
        _ = setrlimit(resource, &limit)
        _ = getrlimit(resource, &limit)
        return Int(clamping: limit.rlim_cur)
    }
}
