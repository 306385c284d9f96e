import Glibc

/// How much the kernel asks for ahead of a reader of a mount.
enum KernelReadAhead {
    /// In KiB: as much as one request of the kernel may be. More brings nothing where the driver reads ahead itself.
    private static let size = "1024"

    /// Raises it from the 128 KiB that every mount begins with, which only root may; nothing depends on it.
    ///
    /// On a thread of its own: the kernel sets its own value when the driver has answered its first request, which the
    /// thread waits for by a request of its own.
    ///
    /// - Parameters:
    ///   - device: The mount's `MAJOR:MINOR`.
    ///   - mountPoint: Where it is.
    static func raise(_ device: String, of mountPoint: String) {
        guard geteuid() == 0 else { return }
        DetachedThread.start {
            var statistics = statvfs()
            if statvfs(mountPoint, &statistics) == 0 { self.set(device) }
        }
    }

    private static func set(_ device: String) {
        let descriptor = open("/sys/class/bdi/\(device)/read_ahead_kb", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        Descriptor.write(self.size, to: descriptor)
        close(descriptor)
    }
}
