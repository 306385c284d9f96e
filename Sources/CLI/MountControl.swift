import BlockCaching
import DiskCaching
import FuseDriver
import Logging
import RemoteAPI
import VFS

/// What is asked of a running mount, over its control socket or for its metrics, and how it is answered.
struct MountControl: Sendable {
    /// What was mounted, and how.
    let configuration: MountConfiguration
    /// Names, bytes and what is not uploaded.
    let fileSystem: FileSystem
    /// Blocks on the disk.
    let disk: DiskCache
    /// The kernel's side.
    let session: FuseSession
    /// The service.
    let connection: ServiceConnection
    /// The log's level, and its last trouble.
    let log: LogState
    /// Told of what is changed.
    let logger: Logger
    private let start = ContinuousClock.now

    /// Takes a mount's parts.
    init(
        _ configuration: MountConfiguration,
        fileSystem: FileSystem,
        disk: DiskCache,
        session: FuseSession,
        connection: ServiceConnection,
        log: LogState,
        logger: Logger
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.disk = disk
        self.session = session
        self.connection = connection
        self.log = log
        self.logger = logger
    }

    /// Answers on the control socket.
    @Sendable func answer(
        _ request: ControlRequest,
        _ progress: @escaping @Sendable (String) -> Void
    ) async -> ControlReply {
        switch request.command {
        case .status:
            return ControlReply(
                ok: true,
                message: self.fileSystem.waiting ?? "all is uploaded",
                status: self.status
            )
        case .logLevel: return self.setLogLevel(request.level)
        case .drain: return await self.drain(progress)
        }
    }

    private func setLogLevel(_ text: String?) -> ControlReply {
        if let text {
            guard let level = LogState.level(text) else {
                return ControlReply(ok: false, message: "a level is one of \(LogState.levelNames)")
            }
            self.log.level = level
            self.logger.notice("the log level was changed", metadata: ["level": "\(level)"])
        }
        return ControlReply(ok: true, message: self.log.level.rawValue)
    }

    private func drain(_ progress: @escaping @Sendable (String) -> Void) async -> ControlReply {
        let left = UploadsLeft(self.fileSystem, over: self.connection.transport)
        let telling = Task {
            while !Task.isCancelled {
                if let text = left.text { progress(text) }
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
        defer { telling.cancel() }
        let unsent = await self.fileSystem.drain()
        guard let first = unsent.first else { return ControlReply(ok: true) }
        let others = unsent.count == 1 ? "" : ", and \(unsent.count - 1) more"
        return ControlReply(
            ok: false,
            message: "\(first.place) is not uploaded: \(first.error)\(others); its bytes are kept"
        )
    }

    /// How the mount stands now.
    var status: MountStatus {
        MountStatus(
            mountPoint: self.configuration.mountPoint,
            filesystem: self.configuration.sourceName,
            version: TetherfsCommand.configuration.version,
            uptime: (ContinuousClock.now - self.start) / .seconds(1),
            logLevel: self.log.level.rawValue,
            server: self.server,
            programs: MountStatus.Programs(self.session.activity),
            cache: self.cache,
            names: MountStatus.Names(
                kernel: self.fileSystem.namespace.nodeCount,
                memoryBytes: UInt64(self.fileSystem.namespace.byteCount)
            ),
            uploads: MountStatus.Uploads(
                writes: self.configuration.writes.mode,
                self.fileSystem.uploadStatus
            ),
            lastError: self.log.lastProblem,
            errorCounts: self.log.problemCounts
        )
    }

    private var server: MountStatus.Server {
        let health = self.connection.client.health
        let requests = self.connection.client.counters
        let transport = self.connection.transport.counters
        return MountStatus.Server(
            url: self.configuration.service.endpoint.url,
            silentSince: health.silentSince,
            lastAnswer: health.lastAnswer,
            isKeyRefused: health.isKeyRefused,
            lastFailure: health.lastFailure.map {
                MountStatus.Server.Failure(call: $0.call, reason: $0.reason, time: $0.time)
            },
            latency: MountStatus.Server.Latency(health.latency),
            requests: requests.attempts,
            retries: requests.retries,
            failures: health.failureCount,
            givenUp: requests.givenUp,
            hedges: requests.hedges,
            inFlight: requests.inFlight,
            queued: requests.queued,
            connections: transport.connections,
            receivedBytes: transport.bytesReceived,
            sentBytes: transport.bytesSent
        )
    }

    private var cache: MountStatus.Cache {
        let memory = self.fileSystem.cache.statistics
        let disk = self.disk.statistics
        return MountStatus.Cache(
            hits: UInt64(memory.hitCount),
            misses: UInt64(memory.missCount),
            diskHits: UInt64(memory.diskHitCount),
            fetched: UInt64(memory.fetchedBlockCount),
            memoryBytes: UInt64(memory.memoryByteCount),
            memoryLimit: UInt64(self.fileSystem.cache.memoryBudget),
            diskBytes: disk.byteCount,
            diskLimit: UInt64(self.configuration.diskCacheByteCount),
            diskCorrupted: UInt64(disk.corrupted),
            diskFailures: UInt64(disk.failures)
        )
    }
}

extension MountStatus.Programs {
    /// Takes what the kernel's side counted.
    init(_ activity: FuseActivity) {
        self.init(
            openFiles: activity.openFileCount,
            reads: activity.readCount,
            readBytes: activity.readByteCount,
            writes: activity.writeCount,
            writtenBytes: activity.writtenByteCount
        )
    }
}

extension MountStatus.Server.Latency {
    /// Takes what was measured.
    init(_ latency: RequestLatency) {
        self.init(
            median: latency.recentSeconds(0.5),
            slow: latency.recentSeconds(0.95),
            counts: latency.counts,
            count: latency.count,
            sum: latency.sum
        )
    }
}
