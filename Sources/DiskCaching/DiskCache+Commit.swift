import SystemPackage

extension DiskCache {
    // MARK: On the writer's thread

    /// Makes what was written known to later mounts. Called before whatever else changes the catalogue, so that nothing
    /// of it comes after it.
    func commit() {
        guard let disk = self.state.withLock({ $0.disk }) else { return }
        let all = disk.written.withLock { written in
            defer { written = Disk.Written() }
            return written.runs
        }
        let written = Self.pieces(of: all.filter { !$0.file.isDropped })
        if written.isEmpty { return }
        let blockCount = written.reduce(0) { $0 + $1.piece.blocks.count }
        do {
            try self.saveUses(disk, with: written.map(\.piece))
        } catch {
            for (file, piece) in written { file.didCommit(piece.blocks, areKnown: false) }
            self.state.withLock { $0.statistics.dropped += blockCount }
            return self.writeFailed(error, disk)
        }
        for (file, piece) in written { file.didCommit(piece.blocks, areKnown: true) }
        self.state.withLock { $0.statistics.stored += blockCount }
    }

    /// What belongs to one line of the catalogue.
    private struct PieceKey: Hashable {
        let file: ObjectIdentifier
        let extent: UInt64
        let segment: UInt32
    }

    /// As few lines of the catalogue as can be.
    private static func pieces(
        of runs: [(file: DiskFile, blocks: ArraySlice<StoredBlock>)]
    ) -> [(file: DiskFile, piece: Piece)] {
        var pieces: [(file: DiskFile, piece: Piece)] = []
        var positions: [PieceKey: Int] = [:]
        for (file, blocks) in runs {
            for block in blocks {
                let extent = UInt64(block.index) / DiskBlocks.perExtent
                let key = PieceKey(file: ObjectIdentifier(file), extent: extent, segment: block.segment)
                if let position = positions[key] {
                    pieces[position].piece.blocks.append(block)
                } else {
                    positions[key] = pieces.count
                    pieces.append((file, Piece(key: file.key, size: file.size, blocks: [block])))
                }
            }
        }
        return pieces
    }

    /// Writes down when segments were used last.
    func saveUses(_ disk: Disk) {
        do {
            try self.saveUses(disk, with: [])
        } catch {
            self.failed(
                "its catalogue cannot be written",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
        }
    }

    private func saveUses(_ disk: Disk, with pieces: [Piece]) throws {
        let changes = self.state.withLock { state in
            state.isSavingUses = false
            return state.table.takeChanges()
        }
        if changes.isEmpty && pieces.isEmpty { return }
        do {
            try disk.catalogue.insert(pieces, segments: changes)
        } catch {
            self.state.withLock { $0.table.restoreChanges(changes.keys) }
            throw error
        }
    }

    func writeFailed(_ error: any Error, _ disk: Disk) {
        switch error {
        case Errno.noSpace, Errno.diskQuotaExceeded:
            self.failed("its disk is full", error)
            _ = self.evict(disk)
        case is Errno: self.failed("its disk cannot be written", error, then: .storeNothing)
        default:
            self.failed(
                "its catalogue cannot be written",
                error,
                then: error.isCorruption ? .beginAnew : .goOn
            )
        }
    }
}
