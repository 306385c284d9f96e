import Synchronization

/// How much memory answers take that clients have not read yet: a listing is as long as its directory, and whoever asks for
/// one after the other without reading could fill the memory for all, or keep all that there is of it from the others.
final class AnswerMemory: Sendable {
    /// In bytes, by the ids of the users who have any.
    private let taken = Mutex<[String: Int]>([:])

    /// In bytes: ten of the longest listings that are usual (100,000 names of 255 bytes), and little beside what a machine
    /// has that is to serve such.
    private static let limit = 256 << 20

    /// Of one user.
    private static let limitOfUser = limit / 4

    /// So much of it, until the last reference goes.
    final class Share: Sendable {
        private let memory: AnswerMemory
        private let user: String
        private let byteCount: Int

        fileprivate init(_ byteCount: Int, for user: String, of memory: AnswerMemory) {
            self.memory = memory
            self.user = user
            self.byteCount = byteCount
        }

        deinit {
            self.memory.taken.withLock { taken in
                let left = taken[self.user, default: 0] - self.byteCount
                taken[self.user] = left > 0 ? left : nil
            }
        }
    }

    /// Takes memory for an answer; all that a user may have for one that is larger.
    ///
    /// - Parameters:
    ///   - byteCount: How long the answer is.
    ///   - user: The id of who asked.
    /// - Returns: What is to be kept until the answer is sent.
    /// - Throws: `ServerError` if other answers have too much, which may have been read a little later.
    func take(_ byteCount: Int, for user: String) throws(ServerError) -> Share {
        let byteCount = min(byteCount, Self.limitOfUser)
        let isThere = self.taken.withLock { taken in
            let ofUser = taken[user, default: 0] + byteCount
            let ofAll = taken.values.reduce(byteCount, +)
            guard ofUser <= Self.limitOfUser, ofAll <= Self.limit else { return false }
            taken[user] = ofUser
            return true
        }
        guard isThere else {
            throw ServerError(status: .serviceUnavailable, message: "too many long listings are being sent")
        }
        return Share(byteCount, for: user, of: self)
    }
}
