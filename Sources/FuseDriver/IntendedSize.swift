/// How large a file is to become for which a program makes room without making it larger.
enum IntendedSize {
    /// The size that a program means.
    ///
    /// - Parameters:
    ///   - end: Up to where it makes room, in bytes.
    ///   - thread: Which of its threads asks.
    /// - Returns: The size in bytes, as far as can be told.
    static func of(roomUpTo end: UInt64, by thread: Int32) -> UInt64 {
        guard thread > 0, ProcFile.read("/proc/\(thread)/comm") == "rsync\n" else { return end }
        // rsync 3.5, as strace(1) shows it: a byte more for an odd size, a byte less for an even one.
        return end % 2 == 0 ? end - 1 : end + 1
    }
}
