import Glibc
import RemoteAPI
import Transport

extension ServiceConfiguration {
    /// How the server is known, and how it knows us.
    ///
    /// - Throws: Names the file that cannot be read, or can be read by others and should not: the HTTP client would say
    ///   less.
    func tls() throws(UserError) -> TransportOptions.TLS {
        try Self.check(self.authoritiesFile, "the authorities' file")
        try Self.check(
            self.clientCertificateFile,
            "the client certificate",
            isSecret: self.clientKeyFile == nil
        )
        try Self.check(self.clientKeyFile, "the client key", isSecret: true)
        return TransportOptions.TLS(
            authoritiesFile: self.authoritiesFile,
            clientCertificateFile: self.clientCertificateFile,
            clientKeyFile: self.clientKeyFile,
            verifiesCertificate: self.insecureOrigin == nil
        )
    }

    private static func check(_ path: String?, _ what: String, isSecret: Bool = false) throws(UserError) {
        guard let path else { return }
        let shown = Printable.text(path)
        let status: FileStatus
        do throws(SystemError) {
            status = try FileStatus(following: path)
            guard !status.isDirectory else { throw SystemError(EISDIR) }
            guard access(path, R_OK) == 0 else { throw SystemError() }
        } catch {
            throw UserError("\(what) \(shown) cannot be read: \(error)")
        }
        let isExposed = SecretFile.isExposed(
            permissions: status.permissions,
            owner: status.userID,
            reader: geteuid()
        )
        guard !isSecret || !isExposed else {
            throw UserError(Printable.text(SecretFile.refusal(of: "\(what) \(path)", at: path), limit: .max))
        }
    }
}
