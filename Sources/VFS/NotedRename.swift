import Staging
import WireFormat

/// The rename of a file on the service as the journal has it, so that after a crash the next mount can tell whether the
/// new name is whole, and delete the old one then.
struct NotedRename: Sendable {
    private let journal: Journal
    private let id: Int64
    private let source: RemotePath
    private let target: RemotePath

    /// Notes that a rename begins.
    init(_ journal: Journal, from source: RemotePath, to target: RemotePath) {
        self.journal = journal
        self.source = source
        self.target = target
        self.id = journal.addMove(.file, from: source, to: target)
    }

    /// Bytes are about to be uploaded under the new name.
    ///
    /// - Parameters:
    ///   - size: How many.
    ///   - old: The size in bytes that the service has under the old name; nothing if it is not known, so that nothing is
    ///     deleted after a crash.
    ///   - replaced: The size in bytes of what they replace; nothing if that is nothing. Where it is another one, that the
    ///     new name is whole shows by its size.
    func willCopy(_ size: UInt64, old: UInt64?, over replaced: UInt64?) {
        if let old { self.journal.noteCopied(self.source, size: old, in: self.id) }
        if replaced != size { self.journal.noteCopied(self.target, size: size, in: self.id) }
    }

    /// The new name is whole on the service.
    func isCopied() { self.journal.advanceMove(self.id, to: .deleting) }

    /// The rename is over, or failed: the old name is not ours to delete any more.
    func finish() { self.journal.finishMove(self.id) }
}
