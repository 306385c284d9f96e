import WireFormat

extension DiskCache {
    /// Drops all blocks of a file, so that they are not served after a crash either.
    ///
    /// Its ``DiskFile``s end. It waits for an fsync if there was something to drop.
    public func forget(_ path: RemotePath) async { await self.forget(path, isTree: false) }

    /// Drops all blocks of the files below a directory, and of the path itself; as ``forget(_:)``.
    public func forgetTree(_ path: RemotePath) async { await self.forget(path, isTree: true) }

    /// Drops all blocks of a file before something changes it on the service, and those of readers who were faster
    /// than the change after it.
    ///
    /// - Parameters:
    ///   - path: The file. Meanwhile nothing of it is served from the disk or stored.
    ///   - failure: Thrown, with nothing changed, if the disk does not answer: then blocks could come back.
    ///   - change: Changes it; called when no block of it can come back any more, not even after a crash.
    /// - Returns: What `change` returns.
    /// - Throws: What `change` throws.
    public func changing<Result, Failure: Error>(
        _ path: RemotePath,
        orThrow failure: Failure,
        _ change: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        self.state.withLock { $0.drop(path, isTree: false) }
        let isForgotten = await self.onWriter { self.deleteLines(path, isTree: false) }
        defer { self.state.withLock { $0.endDrop(path, isTree: false, endingVersions: true) } }
        guard isForgotten else { throw failure }
        return try await change()
    }

    /// Drops all blocks of a file, or of all below a directory, which somebody else was seen to have changed: they are
    /// not served any more from now on, and not after a crash that comes some time later.
    public func forgetSoon(_ path: RemotePath, isTree: Bool) {
        self.state.withLock { $0.drop(path, isTree: isTree) }
        self.writer.async { self.dropOnDisk(path, isTree: isTree) }
    }

    /// Gives the blocks of a file, or of all files below a directory, another path; what was known of that is
    /// dropped. For a tree of very many files they are dropped instead.
    ///
    /// ``DiskFile``s of both paths end. To be called once the service has the files under their new names, which
    /// were forgotten before that.
    public func rename(_ old: RemotePath, to new: RemotePath) async {
        if old == new || old.isWithin(new) || new.isWithin(old) { return await self.forgetTree(old) }
        await self.onWriter {
            self.drain()
            self.commit()
            self.state.withLock { state in
                state.drop(old, isTree: true)
                state.drop(new, isTree: true)
            }
            self.changeLines { disk in
                // A second's work; 10 GiB of 8 MiB pieces are 1,300.
                try disk.catalogue.rename(old.description, to: new.description, limit: 50_000)
            }
            self.state.withLock { state in
                state.endDrop(old, isTree: true)
                state.endDrop(new, isTree: true)
            }
        }
    }

    private func forget(_ path: RemotePath, isTree: Bool) async {
        self.state.withLock { $0.drop(path, isTree: isTree) }
        await self.onWriter { self.dropOnDisk(path, isTree: isTree) }
    }

    // MARK: On the writer's thread

    /// Ends what ``State/drop(_:isTree:)`` began.
    func dropOnDisk(_ path: RemotePath, isTree: Bool) {
        self.deleteLines(path, isTree: isTree)
        self.state.withLock { $0.endDrop(path, isTree: isTree) }
    }

    private func deleteLines(_ path: RemotePath, isTree: Bool) {
        let key = path.description
        self.changeLines { disk in
            self.removeEmpty(try disk.catalogue.delete(isTree ? .tree(key) : .file(key)), disk)
        }
    }

    /// Changes the catalogue in a way that must not fail: a catalogue that would serve what is outdated is worse than
    /// none.
    private func changeLines(_ change: (Disk) throws -> Void) {
        self.commit()
        guard let disk = self.state.withLock({ $0.disk }) else { return }
        do {
            try change(disk)
        } catch {
            self.failed("its catalogue cannot forget", error, then: .beginAnew)
        }
    }

    /// Takes segments away that have no blocks any more.
    func removeEmpty(_ segments: [UInt32], _ disk: Disk) {
        for segment in segments where disk.tail.withLock({ $0?.number }) != segment {
            self.removeSegment(segment, disk)
        }
    }
}
