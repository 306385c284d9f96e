import FoundationEssentials
import Testing
import VFS

@testable import CLI

@Suite("How a mount stands")
struct MountStatusTests {
    /// A mount on which nothing has happened yet.
    static func status() -> MountStatus {
        MountStatus(
            mountPoint: "/mnt/data",
            filesystem: "data",
            version: "1",
            uptime: 10,
            logLevel: "info",
            server: MountStatus.Server(
                url: "https://host/v1",
                isKeyRefused: false,
                latency: .init(counts: [1, 2] + [UInt64](repeating: 0, count: 12), count: 4, sum: 31.5),
                requests: 7,
                retries: 1,
                failures: 1,
                givenUp: 0,
                hedges: 0,
                inFlight: 0,
                queued: 0,
                connections: 1,
                receivedBytes: 1000,
                sentBytes: 2000
            ),
            programs: .init(openFiles: 0, reads: 0, readBytes: 0, writes: 0, writtenBytes: 0),
            cache: .init(
                hits: 0,
                misses: 0,
                diskHits: 0,
                fetched: 0,
                memoryBytes: 0,
                memoryLimit: 1 << 20,
                diskBytes: 0,
                diskLimit: 1 << 30,
                diskCorrupted: 0,
                diskFailures: 0
            ),
            names: .init(kernel: 0, memoryBytes: 0),
            uploads: .init(writes: .sync, UploadStatus()),
            errorCounts: [:]
        )
    }

    @Test("What goes on now is the difference of two snapshots over the driver's own time")
    func throughput() throws {
        let before = Self.status()
        var now = before
        now.uptime = 12
        now.programs.readBytes = 3000
        now.server.sentBytes = 4000
        now.takeThroughput(since: before)
        #expect(now.throughput == .init(read: 1500, written: 0, received: 0, sent: 1000))
        #expect(now.lines.contains("programs now: 1.5KB/s read, 0B/s written"))
    }

    @Test("A driver that was started anew gives no throughput of before")
    func restarted() {
        var now = Self.status()
        var before = now
        before.uptime = 11
        now.takeThroughput(since: before)
        #expect(now.throughput == nil)
        before.uptime = 9
        before.server.receivedBytes = 5000
        now.takeThroughput(since: before)
        #expect(now.throughput?.received == 0)
    }

    @Test("A person reads what is wrong with the server, the last error with its time, and the hit ratios")
    func lines() {
        var status = Self.status()
        status.server.silentSince = 1_767_225_600
        status.server.lastFailure = .init(call: "list", reason: "refused", time: 1_767_225_601)
        status.lastError = .init(time: 1_767_225_602, level: "warning", text: "it broke op=read")
        status.cache.hits = 3
        status.cache.misses = 1
        let lines = status.lines
        #expect(lines[0] == "data at /mnt/data")
        #expect(lines[1] == "server: https://host/v1, does not answer since 2026-01-01T00:00:00Z")
        #expect(lines.contains("last failed request: 2026-01-01T00:00:01Z list: refused"))
        #expect(lines.contains("last error: 2026-01-01T00:00:02Z warning: it broke op=read"))
        #expect(lines.contains("cache: 75 % of reads from memory, 0B in memory, 0B on disk"))
    }

    @Test("The largest status that there can be fits a line of the control socket")
    func size() throws {
        var status = Self.status()
        let path = String(repeating: "/", count: 4096)
        status.uploads.failed = (0..<10).map { _ in .init(path: path, bytes: 1, reason: path) }
        status.uploads.conflicts = (0..<10).map { _ in .init(path: path, copy: path) }
        let line = try ControlLine.encode(ControlReply(ok: true, status: status))
        #expect(line.count < ControlLine.maximumByteCount)
        #expect(ControlLine.decode(ControlReply.self, line.dropLast())?.status == status)
    }

    @Test("A driver that cannot be asked is listed as unknown with the reason, not as silent")
    func listing() throws {
        let entry = MountTable.Entry(
            id: 1,
            parentID: 0,
            device: "0:1",
            mountPoint: "/mnt/data",
            type: "fuse.tetherfs",
            source: "data",
            options: ["user_id=7"]
        )
        let listing = MountListing(entry, .failed("another version"))
        #expect(listing.state == .unknown && listing.reason == "another version")
        #expect(listing.cells[3] == "unknown")
        #expect(MountListing(entry, .hidden).cells[3] == "user 7's")
        #expect(MountListing(entry, .silent).state == .silent)
    }

    @Test("Durations have two digits or so")
    func durations() {
        #expect(TimeText.duration(0.0123) == "12 ms" && TimeText.duration(0.0004) == "0.4 ms")
        #expect(TimeText.duration(2.54) == "2.5 s" && TimeText.duration(0) == "0 ms")
    }

    @Test("A table that is too wide for the terminal becomes a line for each cell")
    func table() {
        let table = TextTable(titles: ["NAME", "STATE"], rows: [["a", "dead"], ["bcdef", "x"]])
        #expect(table.lines(width: nil) == ["NAME   STATE", "a      dead", "bcdef  x"])
        #expect(table.lines(width: 12) == table.lines(width: nil))
        #expect(table.lines(width: 11) == ["name: a", "state: dead", "", "name: bcdef", "state: x"])
    }
}
