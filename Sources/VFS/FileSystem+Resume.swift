import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

// What an earlier mount left in the middle.

extension FileSystem {
    /// Takes in what earlier mounts remember, and takes up the renames that they had begun: those of files are finished
    /// when this returns, those of directories go on in the background, and nobody gets in between. To be called before
    /// anything is asked, and after what is to be uploaded is in its place.
    ///
    /// - Parameter isReadOnly: Whether nothing on the service is to be changed: then all is left as it is.
    /// - Throws: Why the service cannot say where the directories are whose renames are taken up: the next mount tries
    ///   again, and this one has to end, as nobody may get in between.
    public func begin(isReadOnly: Bool) async throws(FileSystemError) {
        await self.namespace.recallAttributes(of: .root)
        defer { if !isReadOnly { self.namespace.forgetUnlisted() } }
        let moves: [Journal.Move]
        do {
            moves = try await self.staging.journal.moves()
        } catch {
            return self.logger.error(
                "renames that an earlier mount began cannot be read from the journal",
                metadata: ["cause": "\(error)"]
            )
        }
        for move in moves {
            guard !isReadOnly else {
                self.log(
                    "a rename that an earlier mount began is left as it is: this one changes nothing",
                    move
                )
                continue
            }
            switch move.kind {
            case .file: await self.finishFile(move)
            case .directory: try await self.resumeDirectory(move)
            }
        }
    }

    func log(_ message: Logger.Message, _ move: Journal.Move, _ error: FileSystemError? = nil) {
        var metadata: Logger.Metadata = ["from": "\(move.source)", "to": "\(move.target)"]
        if let error { metadata["cause"] = "\(error)" }
        self.logger.log(level: error == nil ? .notice : .warning, message, metadata: metadata)
    }

    /// The place of a path whose directory is there, and pinned; nothing if it is not.
    func pinnedPlace(of path: RemotePath) async throws(FileSystemError) -> Place? {
        guard let last = path.name else { return nil }
        var directory = InodeNumber.root
        self.namespace.pin(directory)
        for name in path.parent.components {
            let parent = directory
            defer { self.namespace.unpin(parent) }
            guard case .present(let inode, .directory, _) = try await self.state(of: name, in: parent),
                self.namespace.known(name, in: parent)?.inode == inode, self.namespace.pin(inode)
            else { return nil }
            directory = inode
        }
        return Place(parent: directory, name: last)
    }

    // MARK: Files

    /// Deletes the old name of a file if the new one is whole; else both stay, or the old one alone.
    private func finishFile(_ move: Journal.Move) async {
        do throws(FileSystemError) {
            let isDone = try await self.deleteRenamed(move)
            self.log(
                isDone
                    ? "the rename of a file that an earlier mount began is finished"
                    : "the rename of a file that an earlier mount began is given up: its old name is there",
                move
            )
        } catch {
            // Not later either: by then the old name may have been written to.
            self.log(
                "the rename of a file that an earlier mount began is given up: both names may be there",
                move,
                error
            )
        }
        self.staging.journal.finishMove(move.id)
        // Else a power failure brings it back, when the old name may be that of another file.
        try? await self.commitJournal()
    }

    private func deleteRenamed(_ move: Journal.Move) async throws(FileSystemError) -> Bool {
        guard let old = try await self.pinnedPlace(of: move.source) else { return false }
        defer { self.namespace.unpin(old.parent) }
        guard let new = try await self.pinnedPlace(of: move.target) else { return false }
        defer { self.namespace.unpin(new.parent) }
        return try await self.changingNames([old.key, new.key]) { () throws(FileSystemError) in
            guard let (inode, size) = try await self.file(at: old),
                let (copy, newSize) = try await self.file(at: new),
                // Somebody else may have written to either since.
                let expected = move.copied[move.source], expected == size
            else { return false }
            let isWhole: Bool
            if let noted = move.copied[move.target] {
                isWhole = noted == newSize
            } else {
                isWhole = move.stage == .deleting
            }
            guard isWhole else { return false }
            self.namespace.handOverAttributes(
                from: inode,
                to: copy,
                size: newSize,
                replaces: move.stage == .copying
            )
            try await self.delete(old.name, in: old.parent, kind: .file)
            self.namespace.remove(old.name, in: old.parent, at: .now())
            return true
        }
    }

    /// The file of a name, with its size, if nothing of it waits here.
    private func file(at place: Place) async throws(FileSystemError) -> (InodeNumber, UInt64)? {
        guard case .present(let inode, .file, _) = try await self.state(of: place.name, in: place.parent),
            self.namespace.known(place.name, in: place.parent)?.inode == inode,
            self.existingContent(of: inode)?.isDirty != true
        else { return nil }
        return (inode, try await self.version(of: inode).size)
    }
}
