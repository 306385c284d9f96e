import Dispatch
import Glibc
import RemoteAPI

/// Whether the server's name leads to an address.
struct NameCheck {
    /// Where the service is.
    let endpoint: Endpoint
    /// Where proxies are named.
    let environment: Environment

    /// A resolver tries several servers, for some seconds each.
    private static let limit = DispatchTimeInterval.seconds(15)

    /// What was found.
    var finding: Finding {
        let host = self.endpoint.host
        guard let addresses = self.addresses(of: host) else {
            return .error("DNS", "no answer about \(host) for 15 s", "check /etc/resolv.conf")
        }
        switch addresses {
        case .success(let texts): return .ok("DNS", "\(host) is \(texts.joined(separator: ", "))")
        case .failure(let error):
            if let variable = self.proxyVariable {
                return .ok("DNS", "\(host) is left to the proxy of \(variable)")
            }
            return .error(
                "DNS",
                "\(host): \(error.description)",
                "check the endpoint's name and /etc/resolv.conf"
            )
        }
    }

    private var proxyVariable: String? {
        let scheme = self.endpoint.isEncrypted ? "https" : "http"
        // curl takes http_proxy in lower case alone: a web server has requests' headers in variables such as HTTP_PROXY.
        let names = scheme == "https" ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]
        return (names + ["all_proxy", "ALL_PROXY"]).first { self.environment[$0] != nil }
    }

    private func addresses(of host: String) -> Result<[String], UserError>? {
        let answer = Answer<Result<[String], UserError>>()
        DetachedThread.start { answer.set(Self.resolve(host)) }
        return answer.value(within: Self.limit)
    }

    private static func resolve(_ host: String) -> Result<[String], UserError> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { return .failure(UserError(String(cString: gai_strerror(code)))) }
        defer { freeaddrinfo(list) }
        var texts: [String] = []
        var next = list
        while let entry = next?.pointee {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let length = socklen_t(text.count)
            if getnameinfo(entry.ai_addr, entry.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST) == 0 {
                let address = String(
                    decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
                    as: UTF8.self
                )
                if !texts.contains(address) { texts.append(address) }
            }
            next = entry.ai_next
        }
        return .success(Array(texts.prefix(4)))
    }
}

extension Endpoint {
    /// The server's name or address, without the brackets of an IPv6 one.
    var host: String {
        let authority = self.url.drop { $0 != ":" }.dropFirst("://".count).prefix { $0 != "/" }
        if authority.hasPrefix("[") { return String(authority.dropFirst().prefix { $0 != "]" }) }
        return String(authority.prefix { $0 != ":" })
    }
}
