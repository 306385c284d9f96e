import CFuse
import Dispatch
import Primitives
import Synchronization

/// Tells the kernel to forget a name, or what it knows of a file.
///
/// From a thread of its own, holding no lock: the kernel may wait for requests on the same directory first.
final class KernelNotifier: Sendable {
    /// Unchecked: libfuse lets any thread notify; the session lives as long as the process.
    private struct Session: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    private let session = Mutex<Session?>(nil)
    private let queue = DispatchQueue(label: "tetherfs.notify")

    /// Takes the session, once it is there.
    func attach(_ session: OpaquePointer) {
        self.session.withLock { $0 = Session(pointer: session) }
    }

    /// The kernel drops the pages of a file, and asks for its attributes before it believes anything about it.
    func invalidate(_ inode: InodeNumber) {
        guard let session = self.session.withLock({ $0 }) else { return }
        self.queue.async { fuse_lowlevel_notify_inval_inode(session.pointer, inode.rawValue, 0, 0) }
    }

    /// The kernel looks a name up again before it believes anything about it.
    func invalidate(_ name: [UInt8], in parent: InodeNumber) {
        guard let session = self.session.withLock({ $0 }) else { return }
        self.queue.async {
            name.withUnsafeBytes { bytes in
                _ = fuse_lowlevel_notify_inval_entry(
                    session.pointer,
                    parent.rawValue,
                    bytes.bindMemory(to: CChar.self).baseAddress,
                    bytes.count
                )
            }
        }
    }
}
