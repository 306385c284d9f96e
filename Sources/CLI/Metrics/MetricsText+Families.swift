import RemoteAPI

extension MetricsText {
    /// All metrics, in the order in which they are printed. Names stay what they are: alarms hang on them.
    static let families: [Family] =
        general + server + traffic + cache + uploads

    private static let general = [
        Family(name: "tetherfs_info", kind: .gauge, help: "What is mounted; always 1.") { status in
            let labels = [
                (name: "filesystem", value: status.filesystem), ("server", status.server.url),
                ("version", status.version),
            ]
            return [Sample(labels: labels, value: 1)]
        },
        gauge("tetherfs_uptime_seconds", "How long the driver runs.") { $0.uptime },
        gauge("tetherfs_open_files", "Files that programs have open.") { Double($0.programs.openFiles) },
        Family(
            name: "tetherfs_log_problems_total",
            kind: .counter,
            help: "Events that were logged as a warning or worse."
        ) { status in
            ["warning", "error", "critical"].map { level in
                Sample(labels: [("level", level)], value: Double(status.errorCounts[level] ?? 0))
            }
        },
        gauge("tetherfs_last_problem_timestamp_seconds", "When the last of them was.") {
            $0.lastError.map { Double($0.time) }
        },
    ]

    private static let server = [
        gauge("tetherfs_server_up", "Whether the server answers: 0 after three requests without an answer.") {
            $0.server.silentSince == nil ? 1 : 0
        },
        gauge("tetherfs_server_key_refused", "Whether the server last refused the API key.") {
            $0.server.isKeyRefused ? 1 : 0
        },
        gauge("tetherfs_server_last_answer_timestamp_seconds", "When the server answered last.") {
            $0.server.lastAnswer.map(Double.init)
        },
        counter("tetherfs_requests_total", "Requests sent, repeated ones too.", \.server.requests),
        counter("tetherfs_request_retries_total", "Requests that repeat one which failed.", \.server.retries),
        counter("tetherfs_request_failures_total", "Requests that ended in trouble.", \.server.failures),
        counter("tetherfs_requests_given_up_total", "Calls that failed for good.", \.server.givenUp),
        counter("tetherfs_requests_hedged_total", "Requests sent to outrun a slow one.", \.server.hedges),
        gauge("tetherfs_requests_in_flight", "Requests on the way.") { Double($0.server.inFlight) },
        gauge("tetherfs_requests_queued", "Requests that wait for a place.") { Double($0.server.queued) },
        Family(
            name: "tetherfs_request_latency_seconds",
            kind: .histogram,
            help: "From a request to its answer's first byte, parts of uploads left out."
        ) { histogram($0.server.latency) },
        counter("tetherfs_connections_total", "Connections opened.", \.server.connections),
        counter("tetherfs_received_bytes_total", "Bytes of answers' bodies.", \.server.receivedBytes),
        counter("tetherfs_sent_bytes_total", "Bytes of requests' bodies.", \.server.sentBytes),
    ]

    private static let traffic = [
        counter("tetherfs_reads_total", "Reads of programs that the driver answered.", \.programs.reads),
        counter("tetherfs_read_bytes_total", "Bytes of those.", \.programs.readBytes),
        counter("tetherfs_writes_total", "Writes of programs that the driver took.", \.programs.writes),
        counter("tetherfs_written_bytes_total", "Bytes of those.", \.programs.writtenBytes),
    ]

    private static let cache = [
        counter("tetherfs_cache_hits_total", "Blocks read that were in memory.", \.cache.hits),
        counter("tetherfs_cache_misses_total", "Blocks read that were not.", \.cache.misses),
        counter("tetherfs_cache_disk_hits_total", "Blocks that came from the disk.", \.cache.diskHits),
        counter("tetherfs_cache_fetched_blocks_total", "Blocks that came from the server.", \.cache.fetched),
        gauge("tetherfs_cache_memory_bytes", "What blocks take in memory.") { Double($0.cache.memoryBytes) },
        gauge("tetherfs_cache_memory_limit_bytes", "What they may take.") { Double($0.cache.memoryLimit) },
        gauge("tetherfs_cache_disk_bytes", "What blocks take on the disk.") { Double($0.cache.diskBytes) },
        gauge("tetherfs_cache_disk_limit_bytes", "What they may take.") { Double($0.cache.diskLimit) },
        counter(
            "tetherfs_cache_disk_corrupted_total",
            "Blocks the disk gave back wrong.",
            \.cache.diskCorrupted
        ),
        counter("tetherfs_cache_disk_failures_total", "Calls that the disk failed.", \.cache.diskFailures),
        gauge("tetherfs_kernel_names", "Files and directories the kernel knows.") { Double($0.names.kernel) },
        gauge("tetherfs_names_memory_bytes", "What names take in memory.") { Double($0.names.memoryBytes) },
    ]

    private static let uploads = [
        Family(name: "tetherfs_unsent_files", kind: .gauge, help: "Files with bytes that the server lacks.") {
            amounts($0.uploads) { Double($0.files) }
        },
        Family(name: "tetherfs_unsent_bytes", kind: .gauge, help: "Their sizes.") {
            amounts($0.uploads) { Double($0.bytes) }
        },
        gauge("tetherfs_uploads_failed", "Files whose last upload failed.") {
            Double($0.uploads.failedCount)
        },
        counter("tetherfs_conflicts_total", "Files that others changed meanwhile.") {
            UInt64($0.uploads.conflictCount)
        },
        counter("tetherfs_kept_files_total", "Files put where recover finds them.") {
            UInt64($0.uploads.keptCount)
        },
    ]

    private static func gauge(
        _ name: String,
        _ help: String,
        _ value: @escaping @Sendable (MountStatus) -> Double?
    ) -> Family {
        Family(name: name, kind: .gauge, help: help) { value($0).map { [Sample(value: $0)] } ?? [] }
    }

    private static func counter(
        _ name: String,
        _ help: String,
        _ value: @escaping @Sendable (MountStatus) -> UInt64
    ) -> Family {
        Family(name: name, kind: .counter, help: help) { [Sample(value: Double(value($0)))] }
    }

    private static func amounts(
        _ uploads: MountStatus.Uploads,
        _ value: (MountStatus.Uploads.Amount) -> Double
    ) -> [Sample] {
        [("open", uploads.open), ("pending", uploads.pending), ("uploading", uploads.uploading)].map {
            Sample(labels: [("state", $0)], value: value($1))
        }
    }

    /// The classes of a histogram are cumulative.
    private static func histogram(_ latency: MountStatus.Server.Latency) -> [Sample] {
        var count: UInt64 = 0
        var samples = zip(RequestLatency.bounds, latency.counts).map { bound, classCount in
            count += classCount
            return Sample(suffix: "_bucket", labels: [("le", "\(bound)")], value: Double(count))
        }
        samples.append(Sample(suffix: "_bucket", labels: [("le", "+Inf")], value: Double(latency.count)))
        samples.append(Sample(suffix: "_sum", value: latency.sum))
        samples.append(Sample(suffix: "_count", value: Double(latency.count)))
        return samples
    }
}
