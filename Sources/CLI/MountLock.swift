import Glibc

/// Held by each process of a user who is not root while it mounts, or takes a dead mount away: fusermount3 knows a mount
/// by its path alone, and would take the one that was made there in between.
///
/// Root needs none: it takes a dead mount away by a descriptor.
enum MountLock {
    /// Longer than any process has it; what it asks of a driver is over within two seconds.
    private static let limit = Duration.seconds(10)

    /// Does something while it is held.
    ///
    /// - Parameters:
    ///   - userID: Whose mounts they are.
    ///   - body: What is done.
    /// - Returns: What it returned.
    /// - Throws: What it threw, or why the lock cannot be had.
    static func holding<Value>(
        userID: UInt32 = geteuid(),
        _ body: () throws(UserError) -> Value
    ) throws(UserError) -> Value {
        guard userID != 0 else { return try body() }
        let directory = try ControlAddress.makeDirectory(userID: userID)
        // The directory itself, so that no file is left behind for each mount point that there ever was.
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw UserError("cannot open \(Printable.text(directory)): \(SystemError())")
        }
        defer { close(descriptor) }
        let end = ContinuousClock.now + self.limit
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let error = SystemError()
            guard [EWOULDBLOCK, EINTR].contains(error.code), .now < end else {
                throw UserError("cannot lock \(Printable.text(directory)): \(error)")
            }
            usleep(10_000)
        }
        return try body()
    }
}
