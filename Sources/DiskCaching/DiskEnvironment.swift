import Glibc
import SystemPackage

/// What a cache asks the machine, so that tests can answer.
struct DiskEnvironment: Sendable {
    /// The time of day in seconds since 1970.
    var secondsSince1970: @Sendable () -> Int64 = { Int64(time(nil)) }
    /// The bytes that can still be written to the disk of a directory; nothing if it cannot be told.
    var freeByteCount: @Sendable (FilePath) -> UInt64? = { directory in
        Self.space(of: directory).map { $0.free }
    }
    /// How long a block waits for its neighbours before it is written, so that they lie together and share a
    /// transaction.
    var linger: Duration = .milliseconds(100)
    /// How long a read may take before the service is asked instead.
    var readLimit: Duration = .seconds(2)
    /// How long a change waits for what it replaces to be forgotten.
    var writeLimit: Duration = .seconds(20)
    /// The length of a segment; nothing for that which suits the budget.
    var segmentByteCount: Int?

    /// The bytes that can still be written to the disk of a directory, and those that it has in all.
    static func space(of directory: FilePath) -> (free: UInt64, total: UInt64)? {
        var status = statvfs()
        guard statvfs(directory.string, &status) == 0 else { return nil }
        let unit = UInt64(status.f_frsize)
        return (UInt64(status.f_bavail) * unit, UInt64(status.f_blocks) * unit)
    }
}
