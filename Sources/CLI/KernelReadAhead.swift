import Glibc

/// How much the kernel asks for ahead of a reader of a mount.
enum KernelReadAhead {
    /// In KiB: as much as one request of the kernel may be. More brings nothing where the driver reads ahead itself.
    private static let size = "1024"

    /// Raises it from the 128 KiB that every mount begins with, which only root may; nothing depends on it.
    ///
    /// - Parameter device: The mount's `MAJOR:MINOR`. The kernel has the answer to its first request, with which it sets its
    ///   own value.
    static func raise(_ device: String) {
        guard geteuid() == 0 else { return }
        let descriptor = open("/sys/class/bdi/\(device)/read_ahead_kb", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        Descriptor.write(self.size, to: descriptor)
        close(descriptor)
    }
}
