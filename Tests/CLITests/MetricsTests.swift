import Glibc
import Testing

@testable import CLI

@Suite("Metrics")
struct MetricsTests {
    @Test(
        "An address of this machine alone is one to listen on",
        arguments: ["127.0.0.1:9713", "127.255.0.9:0", "[::1]:80", "/run/metrics.sock"]
    )
    func goodAddress(text: String) {
        #expect(MetricsAddress(text)?.description == text)
    }

    @Test(
        "An address that others can reach, a name, or a port that is none is refused",
        arguments: [
            "0.0.0.0:9713", "[::]:9713", "192.0.2.1:9713", "128.0.0.1:1", "localhost:9713", "127.0.0.1",
            "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+1", "127.1:80", "9713", ":9713", "", "metrics.sock",
            "::1:80", "[::1]", "[::ffff:127.0.0.1]:80", "/run/", "/" + String(repeating: "x", count: 107),
        ]
    )
    func badAddress(text: String) {
        #expect(MetricsAddress(text) == nil)
    }

    private func request(_ text: String) -> MetricsRequest { MetricsRequest(Array(text.utf8)) }

    @Test("GET /metrics is answered once its head is whole, with headers that scrapers send")
    func good() {
        let text = "GET /metrics HTTP/1.1\r\nHost: localhost:9713\r\nAccept: text/plain;version=0.0.4\r\n\r\n"
        for count in 0..<text.utf8.count {
            #expect(MetricsRequest(Array(text.utf8.prefix(count))) == .incomplete)
        }
        #expect(self.request(text) == .metrics)
        #expect(self.request("GET /metrics HTTP/1.0\r\n\r\n") == .metrics)
    }

    @Test("A request for another host is refused, but on a unix socket, which no page's scripts reach")
    func host() {
        for host in ["a", "a:80", "127.a", "192.0.2.1", "", "localhost.a"] {
            let text = "GET /metrics HTTP/1.1\r\nHost: \(host)\r\n\r\n"
            #expect(self.request(text) == .refused(.misdirected))
            #expect(MetricsRequest(Array(text.utf8), takesAnyHost: true) == .metrics)
        }
        for host in ["localhost", "LOCALHOST:1", "127.9.0.1:1", "[::1]", "[::1]:1"] {
            #expect(self.request("GET /metrics HTTP/1.1\r\nHost: \(host) \r\n\r\n") == .metrics)
        }
    }

    @Test(
        "Anything else is refused, for what it is",
        arguments: [
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", .methodNotAllowed),
            ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", .methodNotAllowed),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", .notFound),
            ("GET /metrics?x HTTP/1.1\r\nHost: a\r\n\r\n", .notFound),
            ("GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n", .version),
            ("GET /metrics HTTP/1.1\r\n\r\n", .malformed),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", .malformed),
            ("GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n", .malformed),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", .malformed),
            ("GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n", .malformed),
            ("GET /metrics\r\n\r\n", .malformed), ("\r\n\r\n", .malformed),
            ("\u{16}\u{3}\u{1}\r\n\r\n", .malformed),
            ("GET /" + String(repeating: "x", count: 1100), .lineTooLong),
            ("GET /" + String(repeating: "x", count: 1100) + " HTTP/1.1\r\nHost: a\r\n\r\n", .lineTooLong),
            ("GET /metrics HTTP/1.1\r\nHost: " + String(repeating: "x", count: 9000), .headTooLong),
            ("GET /metrics HTTP/1.1\r\nA: " + String(repeating: "x", count: 9000) + "\r\n\r\n", .headTooLong),
        ] as [(String, MetricsRequest.Status)]
    )
    func bad(text: String, status: MetricsRequest.Status) {
        #expect(self.request(text) == .refused(status))
    }

    @Test("Each metric is told once with its help and type, and has a sample for each mount")
    func text() {
        var other = MountStatusTests.status()
        other.server.lastAnswer = 1
        other.lastError = .init(time: 1, level: "warning", text: "")
        other.mountPoint = "/mnt/a \"b\"\\\n"
        let lines = MetricsText([MountStatusTests.status(), other]).text.split(separator: "\n")
        for family in MetricsText.families {
            #expect(lines.count { $0.hasPrefix("# HELP \(family.name) ") } == 1)
            #expect(lines.count { $0 == "# TYPE \(family.name) \(family.kind.rawValue)" } == 1)
        }
        #expect(lines.contains(#"tetherfs_requests_total{mountpoint="/mnt/data"} 7"#))
        #expect(lines.contains(#"tetherfs_requests_total{mountpoint="/mnt/a \"b\"\\\n"} 7"#))
        #expect(
            lines.contains(
                #"tetherfs_info{mountpoint="/mnt/data",filesystem="data",server="https://host/v1",version="1"} 1"#
            )
        )
    }

    @Test("A mount point is quoted byte by byte: what a quote or a line's end combines with does not hide it")
    func combined() {
        var status = MountStatusTests.status()
        status.mountPoint = "/a\"\u{301}\\\u{301}\r\n"
        let lines = MetricsText([status]).text.utf8.split(separator: UInt8(ascii: "\n")).map {
            String(decoding: $0, as: UTF8.self)
        }
        let label = "/a\\\"\u{301}\\\\\u{301}\r\\n"
        #expect(lines.contains("tetherfs_requests_total{mountpoint=\"\(label)\"} 7"))
    }

    @Test("A counter's name ends in _total, and no other's does")
    func names() {
        for family in MetricsText.families {
            #expect(family.name.hasSuffix("_total") == (family.kind == .counter))
            #expect(family.name.hasPrefix("tetherfs_"))
        }
        #expect(Set(MetricsText.families.map(\.name)).count == MetricsText.families.count)
    }

    @Test("The classes of the latency are cumulative and end with all")
    func histogram() {
        let lines = MetricsText([MountStatusTests.status()]).text.split(separator: "\n")
            .filter { $0.hasPrefix("tetherfs_request_latency_seconds") }
        #expect(
            lines.first == #"tetherfs_request_latency_seconds_bucket{mountpoint="/mnt/data",le="0.001"} 1"#
        )
        #expect(lines[1].hasSuffix(#"le="0.0025"} 3"#) && lines[13].hasSuffix(#"le="30.0"} 3"#))
        #expect(lines[14].hasSuffix(#"le="+Inf"} 4"#))
        #expect(lines[15] == #"tetherfs_request_latency_seconds_sum{mountpoint="/mnt/data"} 31.5"#)
        #expect(lines[16] == #"tetherfs_request_latency_seconds_count{mountpoint="/mnt/data"} 4"#)
    }
}
