import BlockCaching
import DiskCaching
import FuseDriver
import Inodes
import Logging
import RemoteAPI
import Staging
import SystemPackage
import VFS
import WireFormat

/// Runs the driver of one mount, on the main thread, until the mount is gone.
struct MountRunner {
    private let configuration: MountConfiguration
    private let fileSystem: FileSystem
    private let disk: DiskCache
    private let staging: StagingStore
    private let connection: ServiceConnection
    private let log: LogState
    private let logger: Logger

    /// Puts the layers together; nothing is sent or mounted yet.
    ///
    /// - Parameters:
    ///   - configuration: What to mount and how; the mount point was just found free.
    ///   - filesystemID: The filesystem that FILESYSTEM stands for.
    ///   - connection: The service, which has answered and accepted the key.
    ///   - log: The log's level, and its last trouble.
    ///   - logger: Where events go.
    /// - Throws: If the cache directory cannot be used.
    init(
        _ configuration: MountConfiguration,
        filesystemID: FilesystemID,
        connection: ServiceConnection,
        log: LogState,
        logger: Logger
    ) throws(UserError) {
        self.configuration = configuration
        self.connection = connection
        self.log = log
        self.logger = logger
        do throws(CacheDirectoryError) {
            let directory = try CacheDirectory(
                in: SystemPackage.FilePath(configuration.cacheDirectory),
                for: filesystemID
            )
            let disk = Self.disk(in: directory, for: filesystemID, configuration, logger)
            let staging = try StagingStore(
                in: directory,
                recovers: !configuration.isReadOnly,
                makeRoom: disk.makeRoom,
                logger: logger
            )
            self.staging = staging
            self.disk = disk
            let service = connection.client.filesystem(filesystemID)
            let remote = ForgettingRemote(service, disk: self.disk)
            let attributes = JournaledAttributes(staging.journal, logger: logger)
            let namespace = Self.namespace(remote, self.disk, attributes, configuration, logger)
            self.fileSystem = FileSystem(
                remote: remote,
                namespace: namespace,
                cache: BlockCache(
                    remote: remote,
                    disk: self.disk,
                    // The rest is for requests on their way, parts of uploads and what is freed in pieces.
                    memoryBudget: configuration.memoryByteCount / 4 * 3,
                    usedByOthers: {
                        namespace.byteCount + staging.memoryByteCount
                            + max(0, BlockCache.bufferByteCount - $0)
                    }
                ),
                staging: staging,
                options: configuration.writes,
                logger: logger
            )
        } catch {
            throw UserError(Printable.text(error.description, limit: .max), status: .mountFailure)
        }
    }

    private static func disk(
        in directory: CacheDirectory,
        for filesystemID: FilesystemID,
        _ configuration: MountConfiguration,
        _ logger: Logger
    ) -> DiskCache {
        // With no budget it serves nothing, and sees to it that no later mount does, as it would not hear of what this one
        // changes.
        DiskCache(
            directory: directory.path.appending("blocks"),
            identity: "\(configuration.service.endpoint.url) \(filesystemID.rawValue)",
            options: DiskCache.Options(
                // The rest is for copies of uploaded files.
                budget: UInt64(configuration.diskCacheByteCount) - configuration.writes.retainedByteLimit,
                // Half of it there, and half in memory after that.
                blockTTL: configuration.writes.isImmutable ? nil : configuration.blockTTL / 2,
                // More than this is stored later from what is in memory.
                queueByteLimit: configuration.memoryByteCount / 8
            ),
            logger: logger
        )
    }

    private static func namespace(
        _ remote: any RemoteFilesystem,
        _ disk: DiskCache,
        _ attributes: JournaledAttributes,
        _ configuration: MountConfiguration,
        _ logger: Logger
    ) -> Namespace {
        Namespace(
            remote: remote,
            timeToLive: configuration.metadataTTL,
            listingBudget: configuration.memoryByteCount / 4,
            nodeBudget: configuration.memoryByteCount / 8,
            blockTimeToLive: configuration.blockTTL / 2,
            isImmutable: configuration.writes.isImmutable,
            attributes: attributes,
            defaults: DefaultAttributes(
                userID: configuration.userID,
                groupID: configuration.groupID,
                fileMode: configuration.fileMode,
                directoryMode: configuration.directoryMode,
                fileMask: configuration.fileMask,
                directoryMask: configuration.directoryMask,
                time: attributes.firstMountTime
            ),
            whenOutdated: { disk.forgetSoon($0, isTree: $1 == .directory) },
            logger: logger
        )
    }

    /// Mounts and serves.
    ///
    /// - Parameters:
    ///   - signals: What asks for the end.
    ///   - environment: Whose mount it is.
    ///   - ready: Called once, as soon as the mount answers.
    /// - Returns: The exit status: a failure if bytes are left that are not on the service.
    /// - Throws: If there is no mount.
    func run(
        signals: TerminationSignals,
        environment: Environment,
        ready: @escaping @Sendable () -> Void
    ) throws(UserError) -> Int32 {
        try self.recover()
        let service = ServiceNotification(environment)
        let session = try self.session { device in
            // Before anybody is told, so that nobody reads before.
            if let device { KernelReadAhead.raise(device) }
            service?.ready("\(self.configuration.sourceName) is mounted at \(self.configuration.mountPoint)")
            self.logger.info("mounted", metadata: self.configuration.logMetadata)
            ready()
        }
        let control = self.control(session)
        // Before there is a mount, as somebody else may listen there.
        let metrics = try self.metrics(control)
        defer { metrics?.stop() }
        let ending = MountEnding()
        // Before there is a mount, so that none stays behind.
        signals.handle { [self] in
            service?.stopping("ending")
            guard ending.begin(self.uploadsLeft, logger: self.logger) else {
                return self.logger.notice("already ending: what is not uploaded yet goes first")
            }
            DetachedThread.start { self.end(session) }
        }
        try self.mount(session)
        let device = try? MountTable.current().mount(at: self.configuration.mountPoint)?.device
        let watcher = device.flatMap { self.startWatcher($0, environment) }
        let server: ControlServer
        do {
            server = try ControlServer(
                mountPoint: self.configuration.mountPoint,
                environment: environment,
                handler: control.answer
            )
        } catch {
            _ = Unmounting.unmount(self.configuration.mountPoint, .lazily)
            throw error.asMountFailure
        }
        service?.keepTelling(
            about: self.configuration.mountPoint,
            waiting: ending.waiting
        )
        let code: Int32
        do throws(FuseSessionError) {
            code = try session.run(device: device)
        } catch {
            server.stop()
            if self.takeAway(device) { watcher?.end() }
            throw self.failure(error)
        }
        _ = ending.begin(self.uploadsLeft, logger: self.logger)
        server.stop()
        if code < 0 {
            self.logger.error("the mount ended", metadata: ["cause": "\(Errno(rawValue: -code))"])
        }
        // One that stays is left to the watcher.
        if self.takeAway(device) { watcher?.end() }
        return self.finish(ending)
    }

    private func control(_ session: FuseSession) -> MountControl {
        MountControl(
            self.configuration,
            fileSystem: self.fileSystem,
            disk: self.disk,
            session: session,
            connection: self.connection,
            log: self.log,
            logger: self.logger
        )
    }

    private func metrics(_ control: MountControl) throws(UserError) -> MetricsServer? {
        guard let address = self.configuration.metricsAddress else { return nil }
        let server = try MetricsServer(address) { MetricsText([control.status]).text }
        self.logger.info("metrics are served", metadata: ["address": "\(server.address)"])
        return server
    }

    private func startWatcher(_ device: String, _ environment: Environment) -> MountWatcher? {
        do throws(SystemError) {
            let mountPoint = self.configuration.mountPoint
            return try MountWatcher.start(
                mountPoint: mountPoint,
                device: device,
                logFile: self.configuration.isForeground ? nil : self.configuration.logFile,
                environment: environment
            )
        } catch {
            self.logger.warning(
                "nobody takes the mount away should this driver die: a process cannot be started",
                metadata: ["cause": "\(error)"]
            )
            return nil
        }
    }

    /// Takes the mount away if it is still there, as after an error, or a signal that came before it.
    ///
    /// - Returns: Whether it is gone.
    private func takeAway(_ device: String?) -> Bool {
        let path = self.configuration.mountPoint
        guard let device, let mount = try? MountTable.current().mount(at: path), mount.device == device else {
            return true
        }
        return Unmounting.unmount(path, .lazily) == .done
    }

    private func session(
        _ ready: @escaping @Sendable (_ device: String?) -> Void
    ) throws(UserError) -> FuseSession {
        let options = FuseMountOptions(
            source: self.configuration.sourceName,
            isReadOnly: self.configuration.isReadOnly,
            allowsOthers: self.configuration.allowsOthers,
            kernelOptions: self.configuration.kernelOptions
        )
        do throws(FuseSessionError) {
            return try FuseSession(self.fileSystem, options, logger: self.logger, ready: ready)
        } catch {
            throw self.failure(error)
        }
    }

    private func mount(_ session: FuseSession) throws(UserError) {
        try MountLock.holding { () throws(UserError) in
            do throws(FuseSessionError) {
                try session.mount(at: self.configuration.mountPoint)
            } catch {
                throw self.failure(error)
            }
        }
    }

    private func failure(_ error: FuseSessionError) -> UserError {
        UserError(
            "cannot mount on \(Printable.text(self.configuration.mountPoint)): "
                + Printable.text(error.description),
            status: .mountFailure
        )
    }

    /// A signal asks for the end: nobody new comes in, who has files open may go on until all is uploaded.
    private func end(_ session: FuseSession) {
        self.logger.info("ending: the mount is taken away")
        if case .refused(let reason) = Unmounting.unmount(self.configuration.mountPoint, .lazily) {
            self.logger.warning("the mount cannot be taken away", metadata: ["cause": "\(reason)"])
        }
        _ = self.drain(isLast: false)
        session.end()
    }

    /// Takes up what an earlier mount left to be uploaded, before anything is asked of this one.
    private func recover() throws(UserError) {
        let (fileSystem, isReadOnly) = (self.fileSystem, self.configuration.isReadOnly)
        do {
            try Blocking.run {
                try await fileSystem.recover()
                try await fileSystem.begin(isReadOnly: isReadOnly)
            }
        } catch {
            throw UserError(
                "cannot take up what an earlier mount did not upload: \(Printable.text("\(error)")); it is kept",
                status: .mountFailure
            )
        }
    }

    private var uploadsLeft: UploadsLeft { UploadsLeft(self.fileSystem, over: self.connection.transport) }

    /// Uploads what waits.
    private func drain(isLast: Bool) -> [FileSystem.UnsentFile] {
        (try? Blocking.run { await self.fileSystem.drain(tellsOfKept: isLast) }) ?? []
    }

    /// The mount is gone: what still waits is uploaded, or left where the next mount finds it.
    private func finish(_ ending: MountEnding) -> Int32 {
        let unsent = self.drain(isLast: true)
        ending.finish()
        _ = try? Blocking.run { await self.disk.close() }
        self.fileSystem.namespace.saveAttributes()
        self.staging.finish()
        for file in unsent {
            self.logger.error(
                "not uploaded: its bytes are left for the next mount with this cache directory",
                metadata: ["path": "\(file.place)", "bytes": "\(file.byteCount)", "cause": "\(file.error)"]
            )
        }
        self.logger.info("ended", metadata: ["mountpoint": "\(self.configuration.mountPoint)"])
        return unsent.isEmpty ? ExitStatus.success.rawValue : ExitStatus.failure.rawValue
    }
}
