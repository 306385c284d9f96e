extension MountStatus {
    /// What `tetherfs status` prints.
    var lines: [String] {
        ["\(self.filesystem) at \(self.mountPoint)", "server: \(self.server.url), \(self.server.state)"]
            + self.latencyLines + self.throughputLines
            + [self.cacheLine, "open files: \(self.programs.openFiles)", self.requestLine]
            + self.troubleLines + self.uploads.lines
    }

    private var latencyLines: [String] {
        guard let median = self.server.latency.median, let slow = self.server.latency.slow else { return [] }
        return ["latency: \(TimeText.duration(median)), 95 % within \(TimeText.duration(slow))"]
    }

    private var throughputLines: [String] {
        guard let now = self.throughput else { return [] }
        func rate(_ bytes: Double) -> String { "\(ByteCountText.short(UInt64(max(0, bytes))))B/s" }
        return [
            "programs now: \(rate(now.read)) read, \(rate(now.written)) written",
            "network now: \(rate(now.received)) down, \(rate(now.sent)) up",
        ]
    }

    private var cacheLine: String {
        let cache = self.cache
        var parts: [String] = []
        if let share = NumberText.percent(cache.hits, of: cache.hits + cache.misses) {
            parts.append("\(share) of reads from memory")
        }
        if let share = NumberText.percent(cache.diskHits, of: cache.diskHits + cache.fetched) {
            parts.append("\(share) of the rest from disk")
        }
        let memory = ByteCountText.short(cache.memoryBytes)
        let disk = ByteCountText.short(cache.diskBytes)
        parts.append("\(memory)B in memory, \(disk)B on disk")
        return "cache: " + parts.joined(separator: ", ")
    }

    private var requestLine: String {
        let server = self.server
        return "requests: \(server.requests), \(server.retries) repeated, \(server.givenUp) given up, "
            + "\(server.inFlight) under way"
    }

    private var troubleLines: [String] {
        var lines: [String] = []
        if let failure = self.server.lastFailure {
            lines.append(
                "last failed request: \(TimeText.utc(failure.time)) \(failure.call): \(failure.reason)"
            )
        }
        if let error = self.lastError {
            lines.append("last error: \(TimeText.utc(error.time)) \(error.level): \(error.text)")
        }
        return lines
    }
}

extension MountStatus.Server {
    /// One phrase for a person.
    var state: String {
        if let silentSince { return "does not answer since \(TimeText.utc(silentSince))" }
        return self.isKeyRefused ? "refuses the key" : "answers"
    }
}
