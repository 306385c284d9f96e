import Inodes
import Staging
import WireFormat

extension FileSystem {
    /// Guesses the size that a file will have, by the process that writes it and the offset that it has reached.
    public typealias SizeGuess = @Sendable (_ process: Int32, _ offset: UInt64) -> UInt64?

    /// Has sizes guessed from now on; without, only those that are known before the bytes count.
    public func guessSizes(_ guess: @escaping SizeGuess) { self.sizeGuess.withLock { $0 = guess } }

    /// A program wrote bytes: where the final size is known or guessed, parts go up before the file is closed.
    func didWrite(_ range: Range<UInt64>, to content: FileContent, by process: Int32) {
        guard let staged = content.staged else { return }
        content.early.didWrite(range, to: staged, partSize: self.uploader.lanes.leastPartSize) { offset in
            process > 0 ? self.sizeGuess.withLock { $0 }?(process, offset) : nil
        } begin: { size in
            self.beginEarly(content, staged, size)
        }
    }

    private func beginEarly(_ content: FileContent, _ staged: StagedFile, _ size: UInt64) -> EarlyUpload? {
        guard !content.isOnItsOwn, let path = self.namespace.path(of: content.inode),
            // What waits for another name would go up in vain.
            let name = path.name, !self.options.defers(name),
            let (parent, _) = self.namespace.location(of: content.inode)
        else { return nil }
        return EarlyUpload(staged, size: size, path: path, in: parent, uploader: self.uploader) {
            [weak content] in
            guard let content, !content.isOnItsOwn, content.staged === staged else { return false }
            return self.namespace.path(of: content.inode) == path
        }
    }
}
