import Glibc
import RemoteAPI
import Testing

@testable import CLI

@Suite("tetherfs doctor")
struct DoctorTests {
    @Test("A finding is one line: how bad it is, what was found, and what to do")
    func line() {
        let finding = Finding.error("key", "refused\nby\u{1b}[31m the server", "take another")
        #expect(finding.line(hasColor: false) == "error   key: refused?by?[31m the server; take another")
        #expect(Finding.ok("DNS", "fine").line(hasColor: true) == "\u{1b}[32mok     \u{1b}[0m DNS: fine")
    }

    @Test("A clock that is far from the server's is a warning that says which way")
    func clock() {
        #expect(ServiceCheck.clockFinding(nil).level == .ok)
        #expect(ServiceCheck.clockFinding(-30).level == .ok)
        let behind = ServiceCheck.clockFinding(31)
        #expect(behind.level == .warning && behind.text.hasPrefix("31 s behind the server's"))
        let ahead = ServiceCheck.clockFinding(-3600)
        #expect(ahead.level == .warning && ahead.text.hasPrefix("3600 s ahead of the server's"))
    }

    @Test("A certificate is warned of from the moment that fewer than 14 days are left")
    func certificate() {
        let day: Int64 = 86_400
        let soon = ServiceCheck.certificateFinding(1_800_000_000, now: 1_800_000_000 - 14 * day + 1)
        #expect(soon.level == .warning && soon.text == "ends in 13 days, at 2027-01-15T08:00:00Z")
        #expect(soon.advice?.contains("renew it") == true)
        let later = ServiceCheck.certificateFinding(1_800_000_000, now: 1_800_000_000 - 14 * day)
        #expect(later == .ok("certificate", "ends in 14 days, at 2027-01-15T08:00:00Z"))
        #expect(ServiceCheck.certificateFinding(day, now: 1).text.hasPrefix("ends in less than a day"))
        let over = ServiceCheck.certificateFinding(day, now: day)
        #expect(over.level == .warning && over.text.hasPrefix("it ended at"))
    }

    @Test(
        "The host of an endpoint is what is resolved",
        arguments: [
            ("https://host/v1", "host"), ("http://host:8080", "host"), ("https://[::1]:8443/v1", "::1"),
            ("HTTPS://Host:1/", "Host"), ("http://127.0.0.1:1/a:b", "127.0.0.1"),
        ]
    )
    func host(url: String, host: String) {
        #expect(Endpoint(url)?.host == host)
    }

    @Test("A cache on what forgets, or on a network, is warned of, and a local disk is not")
    func filesystemTypes() {
        #expect(FilesystemType(0xef53).trouble == nil && FilesystemType(0xef53).name == "ext4")
        #expect(FilesystemType(0x0102_1994).trouble?.contains("lost") == true)
        #expect(FilesystemType(0x6969).trouble?.contains("network") == true)
        #expect(FilesystemType(0x1234).name == "type 0x1234" && FilesystemType(0x1234).trouble == nil)
    }

    /// A directory of its own, gone afterwards.
    private final class Place {
        let path: String

        init() throws {
            var template = Array("/tmp/tetherfs-doctor-test-XXXXXX".utf8CString)
            _ = try #require(mkdtemp(&template))
            self.path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit { rmdir(self.path) }
    }

    @Test("A cache directory of one's own is fine, and is left as it was")
    func cacheDirectory() throws {
        let place = try Place()
        let findings = CacheDirectoryCheck(path: place.path, userID: geteuid()).findings
        #expect(findings.count == 3 && findings.allSatisfy { $0.level != .error })
        #expect(findings[0] == .ok("cache directory", "\(place.path), yours alone"))
        #expect(findings[2].text.hasPrefix("fsync"))
        #expect(rmdir(place.path) == 0)
        #expect(mkdir(place.path, 0o700) == 0)
    }

    @Test("A cache directory that others may enter, or that is another user's, is a warning")
    func openCacheDirectory() throws {
        let place = try Place()
        chmod(place.path, 0o755)
        let open = CacheDirectoryCheck(path: place.path, userID: geteuid()).findings[0]
        #expect(open.level == .warning && open.advice == "chmod 700 \(place.path)")
        let foreign = CacheDirectoryCheck(path: place.path, userID: geteuid() + 1).findings[0]
        #expect(foreign.level == .warning && foreign.text.contains("belongs to user"))
    }

    @Test("A cache directory that is not there is not made, and a file in its place is an error")
    func absentCacheDirectory() throws {
        let place = try Place()
        let absent = CacheDirectoryCheck(path: place.path + "/a/b", userID: geteuid()).findings
        #expect(absent[0] == .ok("cache directory", "\(place.path)/a/b is not there yet and can be made"))
        #expect(FileStatus(of: place.path + "/a") == nil)
        #expect(CacheDirectoryCheck(path: "/dev/null", userID: geteuid()).findings[0].level == .error)
        #expect(CacheDirectoryCheck(path: "/dev/null/x", userID: geteuid()).findings[0].level == .error)
    }
}
