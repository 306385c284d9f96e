/// How a ``CurlTransport`` connects.
///
/// A proxy is taken from the environment as curl does it (`https_proxy`, `no_proxy` and so on).
public struct TransportOptions: Sendable {
    /// What makes the server's identity, and ours, certain.
    public struct TLS: Sendable {
        /// A PEM file of the authorities to trust in place of the system's.
        public var authoritiesFile: String?
        /// A PEM file with the certificate to show to the server.
        public var clientCertificateFile: String?
        /// A PEM file with that certificate's key, where it is not in the same file.
        public var clientKeyFile: String?
        /// Whether a server whose certificate is not trusted, or is another host's, is refused.
        public var verifiesCertificate: Bool

        /// The system's authorities and no certificate of our own.
        public init(
            authoritiesFile: String? = nil,
            clientCertificateFile: String? = nil,
            clientKeyFile: String? = nil,
            verifiesCertificate: Bool = true
        ) {
            self.authoritiesFile = authoritiesFile
            self.clientCertificateFile = clientCertificateFile
            self.clientKeyFile = clientKeyFile
            self.verifiesCertificate = verifiesCertificate
        }
    }

    /// How many connections there are at most, open or idle, to the one host we speak to. An `https` server has up to
    /// eight more, for what shares them over HTTP/2.
    public var maximumConnections: Int
    /// How many connections are made for bodies before they are needed; with 0 none are made for anything. They count
    /// as idle ones.
    public var spareConnections: Int
    /// How long connecting may take, the TLS handshake included.
    public var connectTimeout: Duration
    /// How an `https` server is checked.
    public var tls: TLS
    /// What we call ourselves: `tetherfs/<version>`.
    public var userAgent: String

    /// The defaults, or other values.
    public init(
        maximumConnections: Int = 64,
        spareConnections: Int = 0,
        connectTimeout: Duration = .seconds(10),
        tls: TLS = TLS(),
        userAgent: String = "tetherfs/0.1"
    ) {
        self.maximumConnections = max(1, maximumConnections)
        self.spareConnections = max(0, spareConnections)
        self.connectTimeout = connectTimeout
        self.tls = tls
        self.userAgent = userAgent
    }
}
