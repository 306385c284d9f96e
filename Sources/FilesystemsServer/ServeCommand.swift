import ArgumentParser
import Logging

/// `tetherfs-server serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves the filesystems of a data directory, until SIGTERM or SIGINT.",
        usage: "tetherfs-server serve --data-dir <dir> [<options>]",
        discussion: """
            Examples:
              tetherfs-server serve --data-dir /srv/files --base-path /v1
              tetherfs-server serve --data-dir /srv/files --listen 0.0.0.0:443 \\
                  --tls-certificate chain.pem --tls-key key.pem
            """
    )

    @Option(help: "Where everything is kept; made if missing.")
    var dataDir: String

    @Option(help: ArgumentHelp("Where to listen; port 0 lets the system choose.", valueName: "host:port"))
    var listen = ListenAddress(host: "127.0.0.1", port: 8080)

    @Option(help: "What every URL's path starts with, such as /v1.")
    var basePath = ""

    @Option(
        help: ArgumentHelp("PEM file of the certificate chain; HTTPS instead of HTTP.", valueName: "file")
    )
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("PEM file of the certificate's private key.", valueName: "file"))
    var tlsKey: String?

    @Flag(help: "Write a line for each request to standard error.")
    var accessLog = false

    @Option(help: ArgumentHelp("Write a line for each request to this file.", valueName: "file"))
    var accessLogFile: String?

    @Option(help: ArgumentHelp("Remove uploads unused for so long.", valueName: "seconds"))
    var abandonedUploadAge = 86400

    // Longer than a client waits for one slow part, short enough that dead clients do not add up.
    @Option(help: ArgumentHelp("Close connections that stand still for so long.", valueName: "seconds"))
    var idleTimeout = 300

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: Logger.Level = .info

    func validate() throws {
        guard (self.tlsCertificate == nil) == (self.tlsKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key go together")
        }
        guard self.abandonedUploadAge > 0 else {
            throw ValidationError("--abandoned-upload-age must be positive")
        }
        guard (1...86400).contains(self.idleTimeout) else {
            throw ValidationError("--idle-timeout must be from 1 to 86400")
        }
        guard Self.normalized(self.basePath) != nil else {
            throw ValidationError("--base-path must be a plain path such as /v1")
        }
        guard !(self.accessLog && self.accessLogFile != nil) else {
            throw ValidationError("--access-log and --access-log-file exclude each other")
        }
    }

    func run() async throws {
        let log: AccessLog.Destination =
            if let file = self.accessLogFile { .file(file) } else { self.accessLog ? .standardError : .none }
        var tls: (certificate: String, key: String)?
        if let certificate = self.tlsCertificate, let key = self.tlsKey { tls = (certificate, key) }
        let settings = ServerApplication.Settings(
            dataDirectory: self.dataDir,
            address: self.listen,
            basePath: Self.normalized(self.basePath) ?? "",
            tls: tls,
            accessLog: log,
            abandonedUploadAge: self.abandonedUploadAge,
            idleTimeout: self.idleTimeout,
            logLevel: self.logLevel
        )
        try await ServerApplication(settings: settings).run()
    }

    /// With a slash before each component and none at the end; nothing if a character would need encoding.
    static func normalized(_ path: String) -> String? {
        let isPlain = path.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "/"):
                true
            default: false
            }
        }
        let components = path.split(separator: "/")
        guard isPlain, !components.contains("."), !components.contains("..") else { return nil }
        return components.map { "/" + $0 }.joined()
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
