/// What the command ends with.
enum ExitStatus: Int32, Sendable {
    /// All was done.
    case success = 0
    /// It was not done; one line on stderr said why.
    case failure = 1
    /// Nothing was mounted: mount(8)'s number for it, which systemd and fstab's callers know.
    case mountFailure = 32
}
