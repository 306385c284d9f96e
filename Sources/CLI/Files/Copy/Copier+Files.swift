import RemoteAPI
import Transfers
import Transport
import WireFormat

extension Copier {
    /// Copies one file.
    ///
    /// - Returns: Whether it was; `false` if it was there already, as far as its size tells.
    /// - Throws: Why it was not: what was there before still is.
    func transfer(_ pair: CopyPair) async throws(CopyFailure) -> Bool {
        switch (pair.source, pair.target) {
        case (.local(let path), .remote(let target)): try await self.upload(path, to: target, pair.existing)
        case (.remote(let source), .local(let path)): try await self.download(source, to: path)
        case (.remote(let source), .remote(let target)):
            try await self.cross(source, to: target, pair.existing)
        case (.local, .local): throw .refused("both are local")
        }
    }

    private func upload(
        _ path: String,
        to target: RemoteLocation,
        _ existing: EntryKind?
    ) async throws(CopyFailure) -> Bool {
        let file = try await LocalDisk.run { () throws(CopyFailure) in try LocalSourceFile(path) }
        let source = LocalUploadSource(file: file, progress: self.progress)
        return try await self.upload(source, size: file.size, to: target, existing, self.lanes.uploads) {
            file.isUnchanged ? .refused("it could not be read") : .changed
        }
    }

    private func cross(
        _ source: RemoteLocation,
        to target: RemoteLocation,
        _ existing: EntryKind?
    ) async throws(CopyFailure) -> Bool {
        let remote = self.run.remote(source)
        let size = try await self.size(of: source)
        let bytes = RemoteUploadSource(file: source.path, size: size, remote: remote, progress: self.progress)
        return try await self.upload(bytes, size: size, to: target, existing, self.lanes.crossings) {
            .changed
        }
    }

    private func upload<Source: UploadSource<CopyFailure>>(
        _ source: Source,
        size: UInt64,
        to target: RemoteLocation,
        _ existing: EntryKind?,
        _ lanes: UploadLanes,
        unreadable: () -> CopyFailure
    ) async throws(CopyFailure) -> Bool {
        self.progress.begin(bytes: size)
        if existing == .directory { throw .refused("\(target.shown) is a directory") }
        if self.options.isResuming, existing == .file, try await self.size(of: target) == size {
            self.progress.add(bytes: size)
            return false
        }
        let upload = MultipartUpload(
            to: target.path,
            size: size,
            // What is there may be as long: then its size proves nothing.
            previousSize: existing == nil ? nil : size,
            remote: self.run.remote(target),
            lanes: lanes,
            source: source
        )
        try await self.takingTurns(size) { () throws(CopyFailure) in
            do throws(UploadError<CopyFailure>) {
                try await upload.run()
            } catch {
                switch error {
                case .local(let failure): throw failure
                case .remote(.unreadableBody): throw unreadable()
                case .remote(.notFound): throw .refused("\(target.shown): its directory is gone")
                case .remote(let error): throw .service(error)
                }
            }
        }
        let shown = try await self.size(of: target)
        guard shown == size else {
            throw .refused("\(target.shown) has \(shown) bytes instead of \(size) after it was uploaded")
        }
        return true
    }

    private func download(_ source: RemoteLocation, to path: String) async throws(CopyFailure) -> Bool {
        let size = try await self.size(of: source)
        self.progress.begin(bytes: size)
        if PartFile.isTemporary(path) {
            throw .refused("its name is that of a half of a download: copy it under another name")
        }
        let (options, progress) = (self.options, self.progress)
        let known = try await LocalDisk.run { () throws(CopyFailure) in try LocalDisk.fileSize(of: path) }
        if options.isResuming, known == size {
            progress.add(bytes: size)
            return false
        }
        try await self.takingTurns(size) { () throws(CopyFailure) in
            let file = try await LocalDisk.run { () throws(CopyFailure) in
                try PartFile(
                    for: path,
                    plan: PartPlan(downloadOf: size),
                    mode: options.newFileMode,
                    continuing: options.isResuming,
                    progress: progress
                )
            }
            do throws(CopyFailure) {
                try await self.fetch(source, into: file)
                try await LocalDisk.run { () throws(CopyFailure) in try file.finish() }
            } catch {
                // Another version's parts are of no use.
                if case .changed = error { file.discard() } else { file.abandon() }
                throw error
            }
        }
        return true
    }

    private func fetch(_ source: RemoteLocation, into file: PartFile) async throws(CopyFailure) {
        let remote = self.run.remote(source)
        if !file.received.isEmpty {
            // All would be looked at in the end; what is found now need not fail.
            let isSame: Bool
            do throws(RemoteError) {
                isSame = try await remote.isUnchanged(
                    source.path,
                    size: file.plan.size,
                    samples: file.received.sorted().map { file.plan[$0].sample }
                ) { await file.read($0) == $1 }
            } catch {
                throw .service(error)
            }
            if isSame {
                self.progress.add(bytes: file.receivedByteCount)
            } else {
                try file.restart()
            }
        }
        let download = PartedDownload(
            from: source.path,
            plan: file.plan,
            remote: remote,
            lanes: self.lanes.downloads,
            target: file
        )
        do throws(DownloadError<CopyFailure>) {
            try await download.run(having: file.received)
        } catch {
            switch error {
            case .local(let failure): throw failure
            case .changed: throw .changed
            case .remote(let error): throw .service(error)
            }
        }
    }

    private func size(of location: RemoteLocation) async throws(CopyFailure) -> UInt64 {
        do throws(RemoteError) {
            return try await self.run.remote(location).size(of: location.path)
        } catch {
            throw .service(error)
        }
    }

    /// Copies large files a few at a time, small ones at once.
    private func takingTurns(
        _ size: UInt64,
        _ body: () async throws(CopyFailure) -> Void
    ) async throws(CopyFailure) {
        guard size > PartPlan.minimumPartSize else { return try await body() }
        do { try await self.lanes.large.acquire() } catch { throw .service(.cancelled) }
        defer { self.lanes.large.release() }
        try await body()
    }
}
