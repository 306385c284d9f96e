import VFS

/// How a mount stands: the one snapshot that `tetherfs status`, `stats`, `list` and the metrics are printed from.
///
/// As JSON it is what `tetherfs status --json` prints. Counts are since the mount began, sizes in bytes, moments in
/// seconds since 1970.
struct MountStatus: Codable, Sendable, Equatable {
    /// Where it is mounted.
    var mountPoint: String
    /// What is mounted: a name or an id, as it was typed.
    var filesystem: String
    /// The driver's version.
    var version: String
    /// For how many seconds the driver runs.
    var uptime: Double
    /// The least level that is logged.
    var logLevel: String
    /// How the service answers.
    var server: Server
    /// What programs do.
    var programs: Programs
    /// What is kept here.
    var cache: Cache
    /// What is kept here of names.
    var names: Names
    /// What is not uploaded yet.
    var uploads: Uploads
    /// The last warning, or worse, in the log.
    var lastError: LogState.Problem?
    /// How many events of each level from `warning` on were logged.
    var errorCounts: [String: UInt64]
    /// What goes on now; nothing as long as only one snapshot was taken.
    var throughput: Throughput?

    /// How the service answers.
    struct Server: Codable, Sendable, Equatable {
        /// A request that ended in trouble.
        struct Failure: Codable, Sendable, Equatable {
            /// What it asked for.
            var call: String
            /// Why.
            var reason: String
            /// When.
            var time: Int64
        }

        /// How long answers took to begin, in seconds.
        struct Latency: Codable, Sendable, Equatable {
            /// The median of the last ones; nothing before the first.
            var median: Double?
            /// What 95 % of the last ones did not exceed.
            var slow: Double?
            /// How many there were in each class; see `RequestLatency`.
            var counts: [UInt64]
            /// How many there were.
            var count: UInt64
            /// What they took together.
            var sum: Double
        }

        /// Its URL.
        var url: String
        /// Since when it does not answer; nothing if it answered last.
        var silentSince: Int64?
        /// When it answered last.
        var lastAnswer: Int64?
        /// Whether it last said that it does not accept the key.
        var isKeyRefused: Bool
        /// The last trouble.
        var lastFailure: Failure?
        /// How fast it answers.
        var latency: Latency
        /// Requests sent, repeated ones too.
        var requests: UInt64
        /// How many of them repeated a call that had failed.
        var retries: UInt64
        /// How many ended in trouble.
        var failures: UInt64
        /// Calls that failed for good although they might have succeeded later.
        var givenUp: UInt64
        /// Requests sent beside, or instead of, one that was slower than its peers by far.
        var hedges: UInt64
        /// Requests on the way now.
        var inFlight: Int
        /// Requests that wait for a place.
        var queued: Int
        /// Connections opened.
        var connections: UInt64
        /// Bytes of bodies received.
        var receivedBytes: UInt64
        /// Bytes of bodies sent.
        var sentBytes: UInt64
    }

    /// What programs do, as far as the kernel does not answer them from its own cache.
    struct Programs: Codable, Sendable, Equatable {
        /// Files that are open now; one that is open twice counts twice.
        var openFiles: Int
        /// Reads that were answered.
        var reads: UInt64
        /// The bytes of those.
        var readBytes: UInt64
        /// Writes that were taken.
        var writes: UInt64
        /// The bytes of those.
        var writtenBytes: UInt64
    }

    /// What is kept here of files' bytes.
    struct Cache: Codable, Sendable, Equatable {
        /// Blocks that were read and in memory.
        var hits: UInt64
        /// Blocks that were read and not in memory.
        var misses: UInt64
        /// Blocks that came from the disk.
        var diskHits: UInt64
        /// Blocks that came from the service.
        var fetched: UInt64
        /// What blocks in memory take.
        var memoryBytes: UInt64
        /// What they may take.
        var memoryLimit: UInt64
        /// What blocks on the disk take.
        var diskBytes: UInt64
        /// What they may take.
        var diskLimit: UInt64
        /// Blocks that the disk gave back wrong, which were dropped.
        var diskCorrupted: UInt64
        /// Calls that the disk failed.
        var diskFailures: UInt64
    }

    /// What is kept here of names.
    struct Names: Codable, Sendable, Equatable {
        /// How many files and directories the kernel or a program has, and directories above them.
        var kernel: Int
        /// What those and listings take in memory.
        var memoryBytes: UInt64
    }

    /// Bytes per second, over the last moment.
    struct Throughput: Codable, Sendable, Equatable {
        /// What programs read.
        var read: Double
        /// What programs wrote.
        var written: Double
        /// What came from the service.
        var received: Double
        /// What went to the service.
        var sent: Double
    }

    /// Works out what went on since an earlier snapshot of the same driver.
    mutating func takeThroughput(since earlier: MountStatus) {
        let seconds = self.uptime - earlier.uptime
        // A driver that was started anew counts from 0.
        guard seconds > 0 else { return }
        func rate(_ count: (MountStatus) -> UInt64) -> Double {
            let (now, before) = (count(self), count(earlier))
            return now < before ? 0 : Double(now - before) / seconds
        }
        self.throughput = Throughput(
            read: rate(\.programs.readBytes),
            written: rate(\.programs.writtenBytes),
            received: rate(\.server.receivedBytes),
            sent: rate(\.server.sentBytes)
        )
    }
}
