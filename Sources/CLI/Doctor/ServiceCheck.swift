import Glibc
import RemoteAPI
import Transport

/// The way to the service, step by step: name, connection and certificate, key, clock, speed, and what the server does
/// otherwise than the API's page says.
struct ServiceCheck {
    /// How the service is reached.
    let configuration: ServiceConfiguration
    /// Its calls.
    let connection: ServiceConnection
    /// Where proxies are named.
    let environment: Environment

    /// How often the server is asked for its latency.
    private static let probeCount = 5
    /// A clock that is off by more than this makes dates in errors and conflicts' names useless.
    private static let clockTolerance: Int64 = 30
    /// A certificate that is renewed in time, by a program or by hand, has more than this left.
    private static let leastCertificateDays: Int64 = 14

    /// Looks, and tells each finding as soon as it is there.
    func run(_ tell: (Finding) -> Void) {
        let name = NameCheck(endpoint: self.configuration.endpoint, environment: self.environment)
        let found = name.finding
        tell(found)
        guard found.level != .error else { return }
        for warning in self.configuration.warnings {
            tell(.warning("encryption", warning.replacing("warning: ", with: ""), "use https, and --ca-file"))
        }
        let first: ServiceProbe
        do throws(ProbeFailure) {
            first = try self.probe()
        } catch {
            return tell(self.finding(error))
        }
        tell(self.connectionFinding(first))
        if let end = first.certificateEnd { tell(Self.certificateFinding(end, now: Int64(time(nil)))) }
        let key = self.keyFinding(first)
        tell(key)
        tell(Self.clockFinding(first.clockOffset))
        guard key.level == .ok else { return }
        tell(self.latencyFinding())
        QuirkCheck(connection: self.connection, hasRequestIDs: first.hasRequestID).findings.forEach(tell)
    }

    private enum ProbeFailure: Error {
        case transport(TransportError)
        case other(String)
    }

    private func probe() throws(ProbeFailure) -> ServiceProbe {
        let client = self.connection.client
        do {
            return try Blocking.run { try await client.probe() }
        } catch let error as TransportError {
            throw .transport(error)
        } catch {
            throw .other(Printable.text("\(error)"))
        }
    }

    private func finding(_ failure: ProbeFailure) -> Finding {
        let url = "\(self.configuration.endpoint)"
        switch failure {
        case .transport(.insecure(let reason)):
            let advice = "check --ca-file and the clock"
            return .error(
                "TLS",
                "the server's certificate is not accepted: \(Printable.text(reason))",
                advice
            )
        case .transport(.notConnected(let reason)):
            let advice = "is the server up, is the endpoint right, is there a firewall?"
            return .error("connection", "\(url): \(Printable.text(reason))", advice)
        case .transport(.timedOut):
            return .error("connection", "\(url) does not answer in time", "is it the right server?")
        case .transport(.interrupted(let reason)), .transport(.invalidRequest(let reason)):
            return .error(
                "connection",
                "\(url): \(Printable.text(reason))",
                "is the endpoint's scheme right?"
            )
        case .transport(.refusedBySink), .transport(.unreadableBody), .transport(.cancelled):
            return .error("connection", "\(url) does not answer like the Filesystems API", "check --endpoint")
        case .other(let text): return .error("connection", text)
        }
    }

    private func connectionFinding(_ probe: ServiceProbe) -> Finding {
        let version = probe.majorVersion >= 2 ? "HTTP/\(probe.majorVersion)" : "HTTP/1.1"
        guard self.configuration.endpoint.isEncrypted else {
            return .ok("connection", "answers over \(version), without TLS")
        }
        guard self.configuration.insecureOrigin == nil else {
            return .ok("connection", "answers over \(version); certificate not checked")
        }
        let authorities =
            self.configuration.authoritiesFile.map { Printable.text($0) } ?? "the system's authorities"
        return .ok("connection", "answers over \(version); certificate accepted, by \(authorities)")
    }

    /// How long the server's certificate is good for; both moments in seconds since 1970.
    static func certificateFinding(_ end: Int64, now: Int64) -> Finding {
        let check = "certificate"
        let date = TimeText.utc(end)
        // One that is over was accepted only because none is checked.
        guard end > now else { return .warning(check, "it ended at \(date)", Self.renewal) }
        let days = (end - now) / 86_400
        let left = days == 1 ? "1 day" : days > 0 ? "\(days) days" : "less than a day"
        let text = "ends in \(left), at \(date)"
        guard days < Self.leastCertificateDays else { return .ok(check, text) }
        return .warning(check, text, "mounts fail from then on: \(Self.renewal)")
    }

    private static let renewal = "have the server's operators renew it"

    private func keyFinding(_ probe: ServiceProbe) -> Finding {
        let place = self.configuration.keySource.place
        let message = probe.message.isEmpty ? "" : ": \(probe.message)"
        switch probe.status {
        case 200:
            guard let count = probe.filesystemCount else {
                return .error(
                    "endpoint",
                    "the answer is not the Filesystems API's\(message)",
                    "check --endpoint"
                )
            }
            guard count > 0 else {
                let advice = "tetherfs filesystems create NAME"
                return .warning("key", "accepted (from \(place)); it has no filesystem yet", advice)
            }
            return .ok(
                "key",
                "accepted (from \(place)); \(count) \(count == 1 ? "filesystem" : "filesystems")"
            )
        case 401:
            return .error(
                "key",
                "refused (from \(place))",
                "it is wrong, was replaced, or is another server's"
            )
        case 403:
            return .error(
                "key",
                "not allowed to list filesystems (from \(place))",
                "ask the service's operators"
            )
        case 404: return .error("endpoint", "the server answers 404", "is the endpoint's path right (/v1)?")
        default:
            return .error(
                "endpoint",
                "the server answers \(probe.status)\(message)",
                "is the endpoint right?"
            )
        }
    }

    /// What the server's clock says of ours, by how many seconds it is ahead.
    static func clockFinding(_ offset: Int64?) -> Finding {
        guard let offset else {
            return .ok("clock", "not compared: the server does not tell its time")
        }
        guard abs(offset) > self.clockTolerance else { return .ok("clock", "as the server's") }
        let side = offset > 0 ? "behind" : "ahead of"
        return .warning(
            "clock",
            "\(abs(offset)) s \(side) the server's: its certificate, dates and waiting times may be taken wrongly",
            "set it, such as with: timedatectl set-ntp true"
        )
    }

    private func latencyFinding() -> Finding {
        var seconds: [Double] = []
        for _ in 0..<Self.probeCount {
            guard let probe = try? self.probe() else { continue }
            seconds.append(probe.duration / .seconds(1))
        }
        seconds.sort()
        guard let least = seconds.first, let most = seconds.last else {
            return .error("latency", "the server does not answer any more", "try again")
        }
        let median = seconds[seconds.count / 2]
        let text = "\(TimeText.duration(median)) (\(TimeText.duration(least)) to \(TimeText.duration(most)))"
        guard seconds.count == Self.probeCount else {
            return .warning(
                "latency",
                "\(text); \(Self.probeCount - seconds.count) requests were not answered"
            )
        }
        guard median < 1 else { return .warning("latency", text, "a slow server or network: all takes long") }
        return .ok("latency", text)
    }
}
