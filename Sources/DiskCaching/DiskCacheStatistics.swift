/// What a disk cache did since it was opened; counts of blocks where nothing else is said.
public struct DiskCacheStatistics: Equatable, Sendable {
    /// Read back, whole and right.
    public var hits = 0
    /// Asked for in ``DiskFile/read(_:)`` and not given.
    public var misses = 0
    /// Written to the disk.
    public var stored = 0
    /// Not taken, since too many waited to be written; who has them may come again.
    public var turnedAway = 0
    /// Not stored: there was no room on the disk, or it failed.
    public var dropped = 0
    /// Read back wrong, and dropped.
    public var corrupted = 0
    /// Taken off the disk to make room.
    public var evicted = 0
    /// Calls that the disk or SQLite failed.
    public var failures = 0
    /// The bytes on the disk, the catalogue's included; a segment counts whole as soon as it is begun.
    public var byteCount: UInt64 = 0
}
