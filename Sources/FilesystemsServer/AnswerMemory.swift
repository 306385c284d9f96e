import Synchronization

/// How much memory answers take that clients have not read yet: a listing is as long as its directory, and whoever asks for
/// one after the other without reading could fill the memory for all.
final class AnswerMemory: Sendable {
    private let taken = Mutex(0)

    /// In bytes: ten of the longest listings that are usual (100,000 names of 255 bytes), and little beside what a machine
    /// has that is to serve such.
    private static let limit = 256 << 20

    /// So much of it, until the last reference goes.
    final class Share: Sendable {
        private let memory: AnswerMemory
        private let byteCount: Int

        fileprivate init(_ byteCount: Int, of memory: AnswerMemory) {
            self.memory = memory
            self.byteCount = byteCount
        }

        deinit { self.memory.taken.withLock { $0 -= self.byteCount } }
    }

    /// Takes memory for an answer; all that there is for one that is larger.
    ///
    /// - Throws: `ServerError` if others have too much, who may have read theirs a little later.
    func take(_ byteCount: Int) throws(ServerError) -> Share {
        let byteCount = min(byteCount, Self.limit)
        let isThere = self.taken.withLock { taken in
            guard taken + byteCount <= Self.limit else { return false }
            taken += byteCount
            return true
        }
        guard isThere else {
            throw ServerError(status: .serviceUnavailable, message: "too many long listings are being sent")
        }
        return Share(byteCount, of: self)
    }
}
