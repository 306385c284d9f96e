import Glibc

/// The room on a disk; see statvfs(3).
public struct DiskSpace: Sendable {
    /// How many bytes can still be written, by others than root too.
    public let freeByteCount: UInt64
    /// How many bytes it has in all.
    public let byteCount: UInt64

    /// So many bytes stay free for other programs: a twentieth of the disk, 1 GiB at most.
    public var floor: UInt64 { min(1 << 30, self.byteCount / 20) }

    /// Asks for the room on the disk of a directory; nothing if it cannot be told.
    public init?(of directory: String) {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return nil }
        let unit = UInt64(status.f_frsize)
        self.freeByteCount = UInt64(status.f_bavail) * unit
        self.byteCount = UInt64(status.f_blocks) * unit
    }
}
