import Glibc
import Primitives
import SystemPackage

/// What a cache asks the machine, so that tests can answer.
struct DiskEnvironment: Sendable {
    /// The time of day in seconds since 1970.
    var secondsSince1970: @Sendable () -> Int64 = { Int64(time(nil)) }
    /// The bytes that can still be written to the disk of a directory; nothing if it cannot be told.
    var freeByteCount: @Sendable (FilePath) -> UInt64? = { directory in
        DiskSpace(of: directory.string)?.freeByteCount
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
}
