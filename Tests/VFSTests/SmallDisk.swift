import Glibc
import Primitives
import TestKit

@testable import Staging
@testable import VFS

/// A disk of 8 MiB, which can be filled up, until it is unmounted. Mounting it takes root.
struct SmallDisk {
    let directory = TemporaryDirectory()

    private var filler: String { self.directory.path + "/filler" }

    /// Mounts it; nothing if that cannot be done.
    init?() {
        guard Glibc.mount("none", self.directory.path, "tmpfs", 0, "size=8m") == 0 else { return nil }
    }

    /// Takes it away.
    func unmount() { umount2(self.directory.path, 2 /* MNT_DETACH */) }

    /// Leaves so many bytes, about.
    func fill(leaving byteCount: Int) {
        guard let free = DiskSpace(of: self.directory.path)?.freeByteCount else { return }
        let descriptor = Glibc.open(self.filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        posix_fallocate(descriptor, 0, off_t(free) - off_t(byteCount))
        Glibc.close(descriptor)
    }

    /// Leaves no room, and a journal that has more to write than there is.
    func fill(for mount: Mount) {
        let descriptor = Glibc.open(self.filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        let block = [UInt8](repeating: 1, count: 4096)
        while Glibc.write(descriptor, block, block.count) > 0 {}
        Glibc.close(descriptor)
        let value = String(repeating: "x", count: 100_000)
        for index in 0..<8 { mount.fileSystem.staging.journal.setMeta("key \(index)", to: value) }
    }

    /// Has room again.
    func clear() { unlink(self.filler) }
}
