import Logging
import RemoteAPI
import WireFormat

/// Runs the driver of one mount, on the main thread, until the mount is gone.
enum MountRunner {
    /// Mounts and serves.
    ///
    /// - Parameters:
    ///   - configuration: What to mount and how; the mount point was just found free.
    ///   - filesystemID: The filesystem that FILESYSTEM stands for.
    ///   - client: The service, which has answered and accepted the key.
    ///   - logger: Where events go.
    ///   - ready: Called once, as soon as the mount answers.
    /// - Returns: The exit status.
    /// - Throws: A ``UserError`` if there is no mount.
    static func run(
        _ configuration: MountConfiguration,
        filesystemID: FilesystemID,
        client: RemoteClient,
        logger: Logger,
        ready: @escaping @Sendable () -> Void
    ) throws -> Int32 {
        throw UserError("this build of tetherfs has no driver in it", status: .mountFailure)
    }
}
