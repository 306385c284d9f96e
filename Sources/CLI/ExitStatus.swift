/// What the command ends with. Thrown by a command that has told all that there is to tell.
enum ExitStatus: Int32, Error {
    /// All was done.
    case success = 0
    /// It was not done; one line on stderr said why.
    case failure = 1
    /// Nothing was mounted: mount(8)'s number for it, which systemd and fstab's callers know.
    case mountFailure = 32
    /// Stopped by Ctrl-C or its like, as shells have it for SIGINT.
    case interrupted = 130
}
